"""Modes, limits and the promises that hold in every mode; chat templates have a file of their
own.
"""

import pickle

import numpy as np
import prompt_cases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_cases import ASSISTANT, EXAMPLES, SYSTEM, TOOL, USER, decode, example

from nuggets_ray.config.schema import PromptConfig
from nuggets_ray.errors import UserError
from nuggets_ray.prompts.prompt import TEMPLATES, Prompt, make_prompt
from nuggets_ray.records import Example

BARE = prompt_cases.tokenizer()
BOS = prompt_cases.tokenizer(bos="<s>", adds_bos=True)
BOS_EOS = prompt_cases.tokenizer(bos="<s>", adds_bos=True, adds_eos=True)
CHAT = prompt_cases.chat_tokenizer("smollm2")
# GPT-2 bytes, a tokenizer with BOS, one over "▁" pieces.
MODES = [
    ("official", BARE),
    ("official", BOS),
    ("alpaca", BARE),
    ("alpaca", BOS),
    ("chat", CHAT),
    ("chat", prompt_cases.chat_tokenizer("gemma2")),
]


def prompt(template: str, tokenizer: object, **limits: int) -> Prompt:
    return make_prompt(tokenizer, PromptConfig(template=template, **limits))


def ids(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def answer(tokenizer, encoding) -> str:
    return decode(tokenizer, encoding.token_ids[encoding.answer_mask])


@pytest.mark.parametrize("name, template, tokenizer", list(prompt_cases.golden_cases()))
def test_renderings_are_the_golden_ones(name, template, tokenizer):
    golden = (prompt_cases.GOLDEN / f"{name}.txt").read_text(encoding="utf-8")
    assert prompt_cases.render_golden(template, tokenizer) == golden


@pytest.mark.parametrize("tokenizer, expected", [(BARE, "alpaca"), (CHAT, "chat")])
def test_auto_takes_the_chat_template_where_there_is_one(tokenizer, expected):
    assert prompt("auto", tokenizer).name == expected


@pytest.mark.parametrize("tokenizer", [BARE, BOS, BOS_EOS])
@pytest.mark.parametrize("name", ["plain", "input", "non_ascii", "placeholders"])
def test_official_is_the_script_id_for_id(tokenizer, name):
    user, reply = EXAMPLES[name].messages
    shown = f"Input:\n{user.input}\n" if user.input else ""
    question = f"Instruction:\n{user.text}\n{shown}Response:\n"
    made = prompt("official", tokenizer)

    assert made.zero_shot_prefix.tolist() == []
    demonstration = made.demonstration(EXAMPLES[name])
    assert demonstration.token_ids.tolist() == tokenizer(question + reply.text)["input_ids"]
    anchor = made.anchor(EXAMPLES[name])
    assert anchor.token_ids.tolist() == ids(tokenizer, question + reply.text)
    start = len(ids(tokenizer, question))
    assert np.flatnonzero(anchor.answer_mask).tolist() == list(range(start, anchor.num_tokens))
    assert demonstration.num_answer_tokens == anchor.num_answer_tokens


def test_official_strips_fields_and_takes_special_token_text_for_special_tokens():
    anchor = prompt("official", BARE).anchor(example((USER, " a \n", "  "), (ASSISTANT, " b</s> ")))
    assert anchor.token_ids.tolist() == ids(BARE, "Instruction:\na\nResponse:\nb</s>")
    assert anchor.token_ids[-1] == BARE.convert_tokens_to_ids("</s>")


def test_official_cuts_anchors_and_keeps_the_answer_that_is_left():
    long = example((USER, "What is it?"), (ASSISTANT, "Paris is a town. " * 40))
    whole = prompt("official", BARE).anchor(long)
    cut = prompt("official", BARE, max_anchor_tokens=200).anchor(long)
    assert whole.num_tokens > 200
    assert np.array_equal(cut.token_ids, whole.token_ids[:200])
    assert np.array_equal(cut.answer_mask, whole.answer_mask[:200])
    assert cut.num_dropped_tokens == whole.num_tokens - 200

    past = example((USER, "What is it? " * 80), (ASSISTANT, "Paris."))
    assert prompt("official", BARE, max_anchor_tokens=200).anchor(past).num_answer_tokens == 0


@pytest.mark.parametrize("tokenizer, front", [(BARE, []), (BOS, ["<s>"]), (BOS_EOS, ["<s>"])])
def test_alpaca_has_the_same_header_on_both_sides_and_a_separator(tokenizer, front):
    made = prompt("alpaca", tokenizer)
    header = tokenizer.convert_tokens_to_ids(front)
    assert made.zero_shot_prefix.tolist() == header
    text = (
        "Below is an instruction that describes a task, paired with an input that provides "
        "further context. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nTranslate into English.\n\n### Input:\nDer Fluß ist naß.\n\n"
        "### Response:\nThe river is wet."
    )
    shown = EXAMPLES["input"]
    assert made.demonstration(shown).token_ids.tolist() == header + ids(tokenizer, text + "\n\n")
    assert made.anchor(shown).token_ids.tolist() == ids(tokenizer, text)
    assert made.text(shown) == text


@pytest.mark.parametrize("template, tokenizer", MODES)
def test_every_assistant_turn_is_answer(template, tokenizer):
    made = prompt(template, tokenizer)
    end = {"official": "", "alpaca": ""}.get(template)
    if end is None:
        end = "<|im_end|>" if tokenizer is CHAT else "<end_of_turn>"
    for encoding in (
        made.demonstration(EXAMPLES["multi_turn"]),
        made.anchor(EXAMPLES["multi_turn"]),
    ):
        assert answer(tokenizer, encoding) == f"The Rhine.{end}The Loire.{end}"


@pytest.mark.parametrize("template, tokenizer", MODES)
def test_an_unanswered_last_question_is_not_shown(template, tokenizer):
    made = prompt(template, tokenizer)
    open_end = Example((*EXAMPLES["plain"].messages, *example((USER, "And of Spain?")).messages))
    for render in (made.demonstration, made.anchor):
        assert np.array_equal(render(open_end).token_ids, render(EXAMPLES["plain"]).token_ids)


@pytest.mark.parametrize("template, tokenizer", MODES)
def test_a_long_demonstration_loses_whole_turns_first(template, tokenizer):
    made = prompt(template, tokenizer)
    turns = [((USER, f"Name river {i}."), (ASSISTANT, f"River {i} it is.")) for i in range(6)]
    whole = made.demonstration(example(*sum(turns, ())))
    for num_kept in range(1, 6):
        kept = made.demonstration(example(*sum(turns[:num_kept], ())))
        for limit in (kept.num_tokens, kept.num_tokens + 3):
            cut = made.demonstration(example(*sum(turns, ())), max_tokens=limit)
            assert np.array_equal(cut.token_ids, kept.token_ids)
            assert np.array_equal(cut.answer_mask, kept.answer_mask)
            assert cut.num_dropped_tokens == whole.num_tokens - kept.num_tokens


@pytest.mark.parametrize("template, tokenizer", MODES)
def test_a_long_answer_is_cut_last_and_still_ends_as_a_demonstration_does(template, tokenizer):
    shown = example((USER, "Name a river."), (ASSISTANT, "The Rhine, " * 30 + "and the Loire."))
    whole = prompt(template, tokenizer).demonstration(shown)
    first = int(np.flatnonzero(whole.answer_mask)[0])
    limit = first + 20
    cut = prompt(template, tokenizer, max_demonstration_tokens=limit).demonstration(shown)
    assert cut.num_tokens == limit
    assert cut.num_dropped_tokens == whole.num_tokens - limit > 0
    assert 0 < cut.num_answer_tokens < 21
    tail = {"official": "", "alpaca": "\n\n"}.get(template)
    if tail is None:
        tail = "<|im_end|>\n" if tokenizer is CHAT else "<end_of_turn>\n"
    assert decode(tokenizer, cut.token_ids).endswith(tail)
    num_same = limit - len(ids(tokenizer, tail))
    assert np.array_equal(cut.token_ids[:num_same], whole.token_ids[:num_same])


@pytest.mark.parametrize("template, tokenizer", MODES)
def test_a_long_question_leaves_no_answer_and_is_counted(template, tokenizer):
    shown = example((USER, "Name a river. " * 30), (ASSISTANT, "The Rhine."))
    whole = prompt(template, tokenizer).demonstration(shown)
    cut = prompt(template, tokenizer).demonstration(shown, max_tokens=40)
    assert np.array_equal(cut.token_ids, whole.token_ids[:40])
    assert cut.num_answer_tokens == 0
    assert cut.num_dropped_tokens == whole.num_tokens - 40


@pytest.mark.parametrize("template", ["alpaca", "chat"])
def test_a_long_anchor_loses_turns_then_answer_tokens_but_gets_no_end_of_turn(template):
    first = prompt(template, CHAT).anchor(EXAMPLES["multi_turn"])
    one_turn = prompt(template, CHAT).anchor(Example(EXAMPLES["multi_turn"].messages[:2]))
    cut = prompt(template, CHAT, max_anchor_tokens=first.num_tokens - 1).anchor(
        EXAMPLES["multi_turn"]
    )
    assert np.array_equal(cut.token_ids, one_turn.token_ids)
    assert cut.num_dropped_tokens == first.num_tokens - one_turn.num_tokens

    limit = int(np.flatnonzero(one_turn.answer_mask)[0]) + 2
    cut = prompt(template, CHAT, max_anchor_tokens=limit).anchor(EXAMPLES["multi_turn"])
    assert np.array_equal(cut.token_ids, one_turn.token_ids[:limit])
    assert np.array_equal(cut.answer_mask, one_turn.answer_mask[:limit])


def test_an_unknown_template_is_a_users_error():
    with pytest.raises(UserError, match="prompt.template=vicuna.*official, alpaca, chat"):
        prompt("vicuna", BARE)


@pytest.mark.parametrize("template", ["alpaca", "chat"])
def test_a_tokenizer_without_offsets_is_a_users_error(template):
    class Slow:
        chat_template = "{{ messages }}"

    with pytest.raises(UserError, match="Slow.*tokenizer.json"):
        prompt(template, Slow())


def test_an_example_without_an_answer_is_refused():
    with pytest.raises(ValueError, match="assistant turn"):
        prompt("alpaca", BARE).anchor(example((USER, "Hello?")))


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_pickled_prompt_is_the_same_prompt(template):
    made = prompt(template, CHAT, max_anchor_tokens=30)
    again = pickle.loads(pickle.dumps(made))
    assert (again.name, again.fingerprint) == (made.name, made.fingerprint)
    for render in ("demonstration", "anchor"):
        for shown in EXAMPLES.values():
            before, after = getattr(made, render)(shown), getattr(again, render)(shown)
            assert np.array_equal(before.token_ids, after.token_ids)
            assert np.array_equal(before.answer_mask, after.answer_mask)


def test_the_fingerprint_names_all_that_changes_the_ids_and_nothing_else():
    other_vocabulary = prompt_cases.tokenizer(specials=("<s>", "</s>", "<x>"))
    other_template = prompt_cases.chat_tokenizer("chatml")
    fingerprints = [
        prompt("official", BARE).fingerprint,
        prompt("alpaca", BARE).fingerprint,
        prompt("alpaca", BARE, max_anchor_tokens=9).fingerprint,
        prompt("alpaca", BARE, max_demonstration_tokens=9).fingerprint,
        prompt("alpaca", other_vocabulary).fingerprint,
        prompt("chat", CHAT).fingerprint,
        prompt("chat", other_template).fingerprint,
    ]
    assert len(set(fingerprints)) == len(fingerprints)
    BARE("a long text", truncation=True, max_length=2)  # leaves a setting in the tokenizer
    assert prompt("alpaca", BARE).fingerprint == fingerprints[1]
    assert prompt("auto", CHAT).fingerprint == fingerprints[5]


SPECIALS = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<end_of_turn>", "{{ bos_token }}", "{%"]
TEXT = st.lists(st.one_of(st.text(), st.sampled_from(SPECIALS)), max_size=5).map("".join)
ANSWER = TEXT.map(str.strip).filter(bool)
MADE = [(prompt(template, tokenizer), tokenizer) for template, tokenizer in MODES]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(MADE[2:]), TEXT, TEXT, ANSWER)
def test_the_answer_mask_decodes_to_the_answer(case, instruction, context, reply):
    made, tokenizer = case
    shown = example((USER, instruction, context), (ASSISTANT, f" \n{reply}\n"))
    end = {"alpaca": ""}.get(made.name, "<|im_end|>" if tokenizer is CHAT else "<end_of_turn>")
    anchor = made.anchor(shown)
    assert answer(tokenizer, anchor) == reply + end
    whole = decode(tokenizer, anchor.token_ids)
    assert whole == made.text(shown)
    demonstration = decode(tokenizer, made.demonstration(shown).token_ids)
    assert whole in demonstration


@pytest.mark.parametrize("template, tokenizer", MODES[2:5])
def test_what_indents_an_answer_is_answer(template, tokenizer):
    made = prompt(template, tokenizer)
    for shown in ("\t    return 1", "\n\n  - one\n    - two"):
        anchor = made.anchor(example((USER, "Go on."), (ASSISTANT, f"{shown} \n")))
        assert shown.lstrip("\n") in answer(tokenizer, anchor)


def test_official_strips_answers_as_the_script_does():
    made, flush = prompt("official", BARE), example((USER, "Go on."), (ASSISTANT, "return 1"))
    indented = example((USER, "Go on."), (ASSISTANT, "    return 1"))
    assert made.anchor(indented).token_ids.tolist() == made.anchor(flush).token_ids.tolist()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(MADE), st.text(), st.text().map(str.strip).filter(bool))
def test_text_without_special_tokens_is_tokenised_as_the_tokenizer_does(case, question, reply):
    made, tokenizer = case
    shown = example((USER, question), (ASSISTANT, reply))
    assert made.anchor(shown).token_ids.tolist() == ids(tokenizer, made.text(shown))


ROLE = st.sampled_from([SYSTEM, USER, ASSISTANT, TOOL])


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(MADE), st.lists(st.tuples(ROLE, TEXT), max_size=7), ANSWER)
def test_any_conversation_renders_with_all_its_texts_and_within_its_limit(case, turns, reply):
    made, tokenizer = case
    shown = example(*turns, (ASSISTANT, reply))
    whole = made.demonstration(shown, max_tokens=10**6)
    text = decode(tokenizer, whole.token_ids)
    assert all(message.content.strip() in text for message in shown.messages)
    assert whole.num_dropped_tokens == 0
    for limit in {whole.num_tokens // 2, whole.num_tokens - 1}:
        cut = made.demonstration(shown, max_tokens=limit)
        assert cut.num_tokens <= limit
        assert cut.num_tokens + cut.num_dropped_tokens == whole.num_tokens


@pytest.mark.parametrize("name, template, tokenizer", list(prompt_cases.golden_cases()))
def test_a_prompt_that_asks_nothing_ends_where_an_answer_begins(name, template, tokenizer):
    made = prompt(template, tokenizer)
    unasked, shown = made.unasked_ids.tolist(), made.demonstration(EXAMPLES["plain"])
    start = int(np.argmax(shown.answer_mask))
    header = made.zero_shot_prefix.tolist()
    assert unasked[: len(header)] == header
    assert len(header) < len(unasked) < start
    # what introduces an answer is the same with a question and without one
    assert unasked[-2:] == shown.token_ids[start - 2 : start].tolist()
