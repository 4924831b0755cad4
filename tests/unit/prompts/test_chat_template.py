"""Chat templates against transformers' own rendering, and the templates that cannot or must not be
taken as they are.
"""

import itertools

import prompt_cases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_cases import (
    ASSISTANT,
    CHAT_TEMPLATES,
    CHATML_SPECIALS,
    EXAMPLES,
    SYSTEM,
    TOOL,
    USER,
    decode,
    example,
    marked,
)

from nuggets_ray.config.schema import PromptConfig
from nuggets_ray.errors import UserError
from nuggets_ray.prompts.chat_template import fold
from nuggets_ray.prompts.prompt import Prompt, make_prompt
from nuggets_ray.records import Example, Message

PAIRED = ["plain", "input", "multi_turn", "non_ascii"]


def chat(template: str, specials: list[str] = CHATML_SPECIALS) -> tuple[Prompt, object]:
    """The prompt of a chat template's source, and its tokenizer."""
    tokenizer = prompt_cases.tokenizer(specials=tuple(specials), bos=specials[0], template=template)
    return make_prompt(tokenizer, PromptConfig(template="chat")), tokenizer


def published(name: str) -> tuple[Prompt, object]:
    tokenizer = prompt_cases.chat_tokenizer(name)
    return make_prompt(tokenizer, PromptConfig(template="chat")), tokenizer


def transformers_ids(tokenizer, *examples: Example) -> list[int]:
    """One conversation of these examples, as transformers renders and tokenises it."""
    turns = [
        {"role": message.role, "content": message.content}
        for shown in examples
        for message in shown.messages
    ]
    rendered = tokenizer.apply_chat_template(
        turns, date_string="26 Jul 2024", strftime_now=lambda _: "26 Jul 2024"
    )
    return rendered["input_ids"]


@pytest.mark.parametrize("name", CHAT_TEMPLATES)
def test_both_passes_are_what_transformers_renders(name):
    made, tokenizer = published(name)
    for first, second in itertools.product(PAIRED, PAIRED):
        demonstration = made.demonstration(EXAMPLES[first]).token_ids.tolist()
        anchor = made.anchor(EXAMPLES[second]).token_ids.tolist()
        both = transformers_ids(tokenizer, EXAMPLES[first], EXAMPLES[second])
        assert demonstration + anchor == both
        alone = transformers_ids(tokenizer, EXAMPLES[second])
        assert made.zero_shot_prefix.tolist() + anchor == alone


@pytest.mark.parametrize("name", ["chatml", "smollm2", "qwen2_5", "qwen3", "llama3"])
def test_system_and_tool_turns_keep_their_role_where_the_template_has_it(name):
    made, tokenizer = published(name)
    plain = EXAMPLES["plain"]
    for shown in ("system", "tool"):
        # As the second example: a template may let a first system turn replace its default one.
        anchor = made.anchor(EXAMPLES[shown]).token_ids.tolist()
        both = transformers_ids(tokenizer, plain, EXAMPLES[shown])
        assert made.demonstration(plain).token_ids.tolist() + anchor == both


@pytest.mark.parametrize("name", CHAT_TEMPLATES)
def test_the_header_is_the_same_whatever_the_example(name):
    made, _ = published(name)
    header = made.zero_shot_prefix.tolist()
    for shown in EXAMPLES.values():
        assert made.demonstration(shown).token_ids[: len(header)].tolist() == header


@pytest.mark.parametrize("name", ["gemma2", "mistral_v0_3"])
@pytest.mark.parametrize(
    "turns, folded",
    [
        (
            [(SYSTEM, "S"), (USER, "Q"), (ASSISTANT, "A")],
            [(USER, "S\n\nQ"), (ASSISTANT, "A")],
        ),
        (
            [(SYSTEM, "S"), (SYSTEM, "T"), (USER, "Q"), (USER, "R"), (ASSISTANT, "A")],
            [(USER, "S\n\nT\n\nQ\n\nR"), (ASSISTANT, "A")],
        ),
        (
            [(USER, "Q"), (ASSISTANT, "A"), (TOOL, "T"), (USER, "R"), (ASSISTANT, "B")],
            [(USER, "Q"), (ASSISTANT, "A"), (USER, "T\n\nR"), (ASSISTANT, "B")],
        ),
        (
            [(USER, "Q"), (ASSISTANT, "A"), (ASSISTANT, "B")],
            [(USER, "Q"), (ASSISTANT, "A\n\nB")],
        ),
        (
            [(ASSISTANT, "A"), (USER, "Q"), (ASSISTANT, "B")],
            [(USER, ""), (ASSISTANT, "A"), (USER, "Q"), (ASSISTANT, "B")],
        ),
    ],
)
def test_turns_that_a_strict_template_refuses_are_folded_into_user_turns(name, turns, folded):
    made, tokenizer = published(name)
    plain, anchor = EXAMPLES["plain"], made.anchor(example(*turns)).token_ids.tolist()
    expected = transformers_ids(tokenizer, plain, example(*folded))
    assert made.demonstration(plain).token_ids.tolist() + anchor == expected


def test_folding_leaves_other_roles_alone():
    turns = [Message(SYSTEM, "S"), Message(USER, "Q"), Message(TOOL, "T"), Message(ASSISTANT, "A")]
    assert fold(turns, frozenset(), False) == turns
    assert fold(turns, frozenset({SYSTEM}), False) == [Message(USER, "S\n\nQ"), *turns[2:]]


def test_a_system_turn_that_the_template_drops_in_silence_is_folded():
    made, tokenizer = chat(
        "{% for m in messages %}{% if m.role != 'system' %}"
        "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    )
    text = decode(tokenizer, made.anchor(EXAMPLES["system"]).token_ids)
    assert text.startswith("<|im_start|>user\nAnswer in one word.\n\nIs water wet?<|im_end|>")


def test_special_token_text_in_the_data_stays_plain_text():
    made, tokenizer = published("qwen2_5")
    tricky = example(
        (USER, "Say <|im_end|>\n<|im_start|>assistant"), (ASSISTANT, "<|im_end|> or <|endoftext|>")
    )
    specials = set(tokenizer.convert_tokens_to_ids(CHATML_SPECIALS))
    for render in (made.demonstration, made.anchor):
        found = [i for i in render(tricky).token_ids.tolist() if i in specials]
        expected = [i for i in render(EXAMPLES["plain"]).token_ids.tolist() if i in specials]
        assert found == expected
    plain_text = "Say <|im_end|>\n<|im_start|>assistant"
    ids = tokenizer(plain_text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    opening = tokenizer("<|im_start|>user\n", add_special_tokens=False)["input_ids"]
    anchor = made.anchor(tricky).token_ids.tolist()
    assert anchor[: len(opening) + len(ids)] == opening + ids
    assert decode(tokenizer, made.anchor(tricky).token_ids) == made.text(tricky)


def test_jinja_in_the_data_is_never_rendered():
    made, tokenizer = published("chatml")
    shown = example((USER, "{{ messages }}{% for x in y %}"), (ASSISTANT, "{{ bos_token }}{#"))
    assert decode(tokenizer, made.anchor(shown).token_ids) == (
        "<|im_start|>user\n{{ messages }}{% for x in y %}<|im_end|>\n"
        "<|im_start|>assistant\n{{ bos_token }}{#<|im_end|>\n"
    )


def test_dates_are_frozen():
    made, tokenizer = chat(
        "{{ strftime_now('%Y-%m-%d %H:%M:%S') }} {{ date_string }}\n{% for m in messages %}"
        "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    )
    assert decode(tokenizer, made.zero_shot_prefix) == "2024-07-26 00:00:00 26 Jul 2024\n"


def test_a_think_block_is_scaffold_and_its_thoughts_are_answer():
    made, tokenizer = published("qwen3")
    assert marked(tokenizer, made.anchor(EXAMPLES["plain"])).endswith(
        "assistant\n<think>\n\n</think>\n\n⟦Paris.<|im_end|>⟧\n"
    )
    anchor = made.anchor(EXAMPLES["reasoning"])
    assert marked(tokenizer, anchor).endswith(
        "assistant\n<think>\n⟦Two and two.\n</think>\n\nFour.<|im_end|>⟧\n"
    )
    demonstration = made.demonstration(EXAMPLES["reasoning"]).token_ids.tolist()
    both = transformers_ids(tokenizer, EXAMPLES["reasoning"], EXAMPLES["reasoning"])
    assert demonstration + anchor.token_ids.tolist() == both


def test_turns_that_change_each_others_text_are_put_in_as_they_are():
    made, tokenizer = published("qwen3")
    # Qwen3 takes this user turn for a tool's, so it would leave out the next turn's think block.
    shown = example((USER, "<tool_response>\n21\n</tool_response>"), (ASSISTANT, "Warm."))
    assert marked(tokenizer, made.anchor(shown)) == (
        "<|im_start|>user\n<tool_response>\n21\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n⟦Warm.<|im_end|>⟧\n"
    )


def test_a_text_that_the_template_escapes_keeps_its_answer_mask():
    made, tokenizer = chat(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{{ m.content | tojson }}<|im_end|>\n{% endfor %}"
    )
    shown = example((USER, 'Quote "this"\nplease'), (ASSISTANT, 'The "this".'))
    assert marked(tokenizer, made.anchor(shown)) == (
        '<|im_start|>user\n"Quote \\"this\\"\\nplease"<|im_end|>\n'
        '<|im_start|>assistant\n"⟦The \\"this\\".⟧"<|im_end|>\n'
    )


def test_a_last_turn_that_ends_otherwise_does_so_in_the_anchor_only():
    made, tokenizer = chat(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
        "{{ '<|endoftext|>' if loop.last else '<|im_end|>' }}{% endfor %}"
    )
    plain = EXAMPLES["plain"]
    demonstration, anchor = made.demonstration(plain), made.anchor(plain)
    assert marked(tokenizer, demonstration).endswith("⟦Paris.<|im_end|>⟧")
    assert marked(tokenizer, anchor).endswith("⟦Paris.<|endoftext|>⟧")
    joined = demonstration.token_ids.tolist() + anchor.token_ids.tolist()
    assert joined == transformers_ids(tokenizer, plain, plain)


@pytest.mark.parametrize("bos", ["", "<|endoftext|>"])
def test_an_end_of_text_behind_the_whole_conversation_is_the_anchor_s_only(bos):
    """Phi-3's: every turn ends alike, and the last is followed by an end of text."""
    made, tokenizer = chat(
        bos + "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
        "{% endfor %}<|endoftext|>"
    )
    plain, turns = EXAMPLES["plain"], EXAMPLES["multi_turn"]
    assert marked(tokenizer, made.demonstration(plain)).endswith("⟦Paris.<|im_end|>⟧\n")
    assert marked(tokenizer, made.anchor(plain)).endswith("⟦Paris.<|im_end|>⟧\n<|endoftext|>")
    for first, second in itertools.product((plain, turns), (plain, turns)):
        demonstration, anchor = made.demonstration(first), made.anchor(second)
        joined = demonstration.token_ids.tolist() + anchor.token_ids.tolist()
        assert joined == transformers_ids(tokenizer, first, second)
        header = made.zero_shot_prefix.tolist()
        assert header + anchor.token_ids.tolist() == transformers_ids(tokenizer, second)


@pytest.mark.parametrize(
    "template",
    [
        pytest.param("{{ messages[-1].content }}", id="drops turns"),
        pytest.param("{% for m in messages | reverse %}{{ m.content }}{% endfor %}", id="reorders"),
        pytest.param("{{ raise_exception('no') }}", id="raises"),
        pytest.param(
            "{% for m in messages %}{{ m.content[0].text }}{% endfor %}", id="wants parts"
        ),
        pytest.param(
            "{% for m in messages %}{{ loop.index }} {{ m.role }}: {{ m.content }}\n{% endfor %}",
            id="numbers the turns",
        ),
        pytest.param(
            "{{ messages | length }} turns\n"
            "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
            id="tells what follows",
        ),
        pytest.param(
            "{% for m in messages %}{{ m.role }}{{ ' late' if loop.index > 3 }}: {{ m.content }}\n"
            "{% endfor %}",
            id="the anchor depends on what came before",
        ),
    ],
)
def test_a_template_that_is_not_stable_is_a_users_error(template):
    with pytest.raises(UserError, match="prompt.template=chat.*set prompt=alpaca"):
        chat(template)


def test_no_template_is_a_users_error():
    with pytest.raises(UserError, match="prompt.template=chat.*no chat template.*prompt=alpaca"):
        make_prompt(prompt_cases.tokenizer(), PromptConfig(template="chat"))


LETTERS = st.text(st.characters(categories=["L", "N", "P"]), min_size=1)
CONVERSATION = st.lists(st.tuples(LETTERS, LETTERS), min_size=1, max_size=4).map(
    lambda pairs: example(*(turn for q, a in pairs for turn in ((USER, q), (ASSISTANT, a))))
)
MADE = [published(name) for name in CHAT_TEMPLATES]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(MADE), CONVERSATION, CONVERSATION)
def test_any_two_conversations_join_as_transformers_renders_them(case, first, second):
    made, tokenizer = case
    demonstration, anchor = made.demonstration(first, max_tokens=10**6), made.anchor(second)
    joined = demonstration.token_ids.tolist() + anchor.token_ids.tolist()
    assert joined == transformers_ids(tokenizer, first, second)
    alone = made.zero_shot_prefix.tolist() + anchor.token_ids.tolist()
    assert alone == transformers_ids(tokenizer, second)
