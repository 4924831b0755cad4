"""Tools, reasoning and calls through chat templates: in the places that a template has, as
transformers renders them, and as text otherwise; which tokens are answer is the same in scoring and
in training.
"""

import json

import numpy as np
import prompt_cases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_cases import (
    ASSISTANT,
    CHAT_TEMPLATES,
    CHATML_SPECIALS,
    LLAMA3_SPECIALS,
    SYSTEM,
    TOOL,
    USER,
    decode,
    marked,
    template_source,
)

from nuggets_ray.config.schema import PromptConfig
from nuggets_ray.prompts.prompt import Prompt, make_prompt
from nuggets_ray.records import Example, Message, ToolCall

TIDES = {
    "type": "function",
    "function": {"name": "tide_table", "parameters": {"port": {"type": "string"}}},
}
TOOLS = (json.dumps(TIDES),)
CALL = ToolCall("tide_table", '{"port": "Vigo", "days": 2}')
CALL_TEXT = f'<tool_call>\n{{"name": "tide_table", "arguments": {CALL.arguments}}}\n</tool_call>'
ASKED = Message(USER, "When is high tide?")
CALLED = Message(ASSISTANT, "Let me look.", reasoning="Look it up.", tool_calls=(CALL,))
SILENT = Message(ASSISTANT, "", tool_calls=(CALL,))
FOUND = Message(TOOL, "12:05")
TOLD = Message(ASSISTANT, "At noon.", reasoning="12:05 is about noon.")
EOM = [*LLAMA3_SPECIALS, "<|eom_id|>"]

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}CALLS<|im_end|>\n{% endfor %}"
)


def made(template: str, specials: list[str] = CHATML_SPECIALS) -> tuple[Prompt, object]:
    made = prompt_cases.tokenizer(
        specials=tuple(specials), eos=specials[1], bos=specials[0], template=template
    )
    return make_prompt(made, PromptConfig(template="chat")), made


def qwen() -> tuple[Prompt, object]:
    return made(template_source("qwen3_tools"))


def llama() -> tuple[Prompt, object]:
    return made(template_source("llama3_tools"), EOM)


def as_dicts(messages: tuple[Message, ...]) -> list[dict[str, object]]:
    """The messages as a user hands them to transformers."""
    turns = []
    for message in messages:
        turn: dict[str, object] = {"role": message.role, "content": message.content}
        if message.reasoning:
            turn["reasoning_content"] = message.reasoning
        if message.tool_calls:
            turn["tool_calls"] = [
                {
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.loads(call.arguments)},
                }
                for call in message.tool_calls
            ]
        turns.append(turn)
    return turns


def transformers_text(tokenizer, shown: Example) -> str:
    tools = [json.loads(tool) for tool in shown.tools] or None
    return tokenizer.apply_chat_template(as_dicts(shown.messages), tools=tools, tokenize=False)


def answers(tokenizer, encoding) -> list[str]:
    """The texts of the stretches of answer tokens."""
    edges = np.flatnonzero(np.diff(encoding.answer_mask, prepend=False, append=False))
    parts = np.split(encoding.token_ids, edges)
    return [decode(tokenizer, part) for part in parts[1::2]]


CONVERSATIONS = {
    "call": Example((ASKED, CALLED), TOOLS),
    "silent call": Example((ASKED, SILENT), TOOLS),
    "two calls": Example((ASKED, Message(ASSISTANT, "Both.", tool_calls=(CALL, CALL))), TOOLS),
    "result": Example((ASKED, SILENT, FOUND, TOLD), TOOLS),
    "system": Example((Message(SYSTEM, "Be brief."), ASKED, CALLED, FOUND, TOLD), TOOLS),
    "reasoning": Example((ASKED, TOLD)),
    "own system": Example((Message(SYSTEM, "Be brief."), ASKED, Message(ASSISTANT, "Noon."))),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_alone_is_what_transformers_renders(name):
    prompt, tokenizer = qwen()
    shown = CONVERSATIONS[name]
    assert decode(tokenizer, prompt.alone(shown).token_ids) == transformers_text(tokenizer, shown)


@pytest.mark.parametrize("name", [n for n in CHAT_TEMPLATES if n not in ("gemma2", "mistral_v0_3")])
def test_an_own_system_turn_replaces_the_template_s_in_training_only(name):
    tokenizer = prompt_cases.chat_tokenizer(name)
    prompt = make_prompt(tokenizer, PromptConfig(template="chat"))
    shown = CONVERSATIONS["own system"]
    frozen = {"date_string": "26 Jul 2024", "strftime_now": lambda _: "26 Jul 2024"}
    rendered = tokenizer.apply_chat_template(as_dicts(shown.messages), tokenize=False, **frozen)
    alone = prompt.alone(shown)
    assert decode(tokenizer, alone.token_ids) == rendered
    assert answers(tokenizer, alone) == answers(tokenizer, prompt.anchor(shown))


def test_calls_and_reasoning_are_answer():
    prompt, tokenizer = qwen()
    for encoding in (prompt.anchor(CONVERSATIONS["result"]), prompt.alone(CONVERSATIONS["result"])):
        called, told = answers(tokenizer, encoding)
        assert called == f"{CALL_TEXT}<|im_end|>"
        assert told == "12:05 is about noon.\n</think>\n\nAt noon.<|im_end|>"


def test_scored_tools_stand_in_a_system_turn_behind_the_shared_header():
    default = "<|im_start|>system\nDefault.<|im_end|>\n"
    prompt, tokenizer = made(default + CHATML.replace("CALLS", ""))
    for shown in (CONVERSATIONS["result"], CONVERSATIONS["system"]):
        text = decode(tokenizer, prompt.demonstration(shown).token_ids)
        assert text.startswith(default + "<|im_start|>system\n")
        assert f"You may call these functions:\n{TOOLS[0]}<|im_end|>" in text
    prompt, tokenizer = qwen()
    text = decode(tokenizer, prompt.anchor(CONVERSATIONS["system"]).token_ids)
    assert text.startswith("<|im_start|>system\nBe brief.\n\n# Tools\n\nYou may call one or more")
    assert text.count(json.dumps(TIDES)) == 1
    text = decode(tokenizer, prompt.anchor(CONVERSATIONS["call"]).token_ids)
    assert text.startswith("<|im_start|>system\n# Tools\n\nYou may call one or more")


def test_reasoning_that_the_template_drops_before_another_question_stays_in_a_demonstration():
    prompt, tokenizer = qwen()
    shown = marked(tokenizer, prompt.demonstration(CONVERSATIONS["reasoning"]))
    assert shown == (
        "<|im_start|>user\nWhen is high tide?<|im_end|>\n<|im_start|>assistant\n"
        "<think>\n⟦12:05 is about noon.\n</think>\n\nAt noon.<|im_end|>⟧\n"
    )
    other = Example((ASKED, Message(ASSISTANT, "At noon.", reasoning="By heart.")))
    assert (
        prompt.demonstration(other).token_ids.tolist()
        != prompt.demonstration(CONVERSATIONS["reasoning"]).token_ids.tolist()
    )


def test_what_a_template_would_drop_or_refuse_is_text():
    prompt, tokenizer = llama()
    [silent, _] = answers(tokenizer, prompt.anchor(CONVERSATIONS["result"]))
    call = '{"name": "tide_table", "parameters": {"port": "Vigo", "days": 2}}'
    assert silent == f"{call}<|eom_id|>", "a single call without text has its place"
    [both] = answers(tokenizer, prompt.anchor(CONVERSATIONS["two calls"]))
    assert both == f"Both.\n{CALL_TEXT}\n{CALL_TEXT}<|eot_id|>", "it raises on two calls"
    [called] = answers(tokenizer, prompt.alone(CONVERSATIONS["call"]))
    spelled = f"<think>\nLook it up.\n</think>\n\nLet me look.\n{CALL_TEXT}<|eot_id|>"
    assert called == spelled, "it would drop the text beside a call"


def test_tools_in_the_first_question_stand_there_in_training_alone():
    prompt, tokenizer = llama()
    shown = CONVERSATIONS["silent call"]
    assert decode(tokenizer, prompt.alone(shown).token_ids) == transformers_text(tokenizer, shown)
    scored = decode(tokenizer, prompt.anchor(shown).token_ids)
    assert "ipython" not in scored and f"You may call these functions:\n{TOOLS[0]}" in scored


def test_a_template_that_wants_arguments_as_text_gets_text():
    prompt, tokenizer = made(
        CHATML.replace(
            "CALLS",
            "{% for c in m.tool_calls or [] %}[{{ c.function.name }}|{{ c.function.arguments }}]"
            "{% endfor %}",
        )
    )
    [call] = answers(tokenizer, prompt.anchor(Example((ASKED, SILENT))))
    assert call == '[tide_table|{"port": "Vigo", "days": 2}]<|im_end|>'
    odd = Message(ASSISTANT, "", tool_calls=(ToolCall("tide_table", "port=Vigo"),))
    [call] = answers(tokenizer, prompt.anchor(Example((ASKED, odd))))
    assert call == "[tide_table|port=Vigo]<|im_end|>"


def test_a_bare_function_is_wrapped_where_the_template_reads_a_wrapped_one():
    named = (
        "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t.function.name }}: "
        "{{ t.function.parameters | tojson }}{% endfor %}<|im_end|>\n{% endif %}"
    )
    prompt, tokenizer = made(named + CHATML.replace("CALLS", ""))
    bare = Example((ASKED, TOLD), (json.dumps(TIDES["function"]),))
    text = decode(tokenizer, prompt.alone(bare).token_ids)
    assert text.startswith('<|im_start|>system\ntide_table: {"port": {"type": "string"}}<|im_end|>')


def test_special_token_text_in_calls_tools_and_reasoning_stays_plain():
    prompt, tokenizer = qwen()
    tricky = "<|im_end|>\n<|im_start|>"
    shown = Example(
        (
            Message(USER, tricky),
            Message(
                ASSISTANT,
                tricky + "text",
                reasoning=tricky + "why",
                tool_calls=(ToolCall("f", json.dumps({"x": tricky})),),
            ),
        ),
        (json.dumps({"type": "function", "function": {"name": "f", "description": tricky}}),),
    )
    plain = Example((ASKED, CALLED), TOOLS)
    specials = set(tokenizer.convert_tokens_to_ids(CHATML_SPECIALS))
    for render in (prompt.demonstration, prompt.anchor, prompt.alone):
        found = [i for i in render(shown).token_ids.tolist() if i in specials]
        assert found == [i for i in render(plain).token_ids.tolist() if i in specials]
    assert decode(tokenizer, prompt.alone(shown).token_ids) == transformers_text(tokenizer, shown)


def test_a_turn_that_does_not_train_is_no_answer():
    turns = (ASKED, Message(ASSISTANT, "At six.", trains=False), ASKED, Message(ASSISTANT, "Noon."))
    for prompt, tokenizer in PROMPTS:
        for render in (prompt.demonstration, prompt.anchor, prompt.alone):
            [answer] = answers(tokenizer, render(Example(turns)))
            assert "Noon." in answer and "six" not in answer
            assert "At six." in decode(tokenizer, render(Example(turns)).token_ids)
    cut = prompt.anchor(Example((*turns, ASKED, Message(ASSISTANT, "Never.", trains=False))))
    assert cut.token_ids.tolist() == prompt.anchor(Example(turns)).token_ids.tolist()


def test_neighbouring_answers_of_which_one_does_not_train_stay_apart():
    turns = (ASKED, Message(ASSISTANT, "Six.", trains=False), Message(ASSISTANT, "Noon."))
    prompt, tokenizer = PROMPTS[-1]
    assert answers(tokenizer, prompt.anchor(Example(turns))) == ["Noon.</s>"]


def test_a_template_that_strips_answers_is_told():
    notes = {
        name: make_prompt(prompt_cases.chat_tokenizer(name), PromptConfig(template="chat")).notes
        for name in CHAT_TEMPLATES
    }
    strips = {name for name, told in notes.items() if told}
    assert strips == {"gemma2", "llama3", "llama3_2", "mistral_v0_3"}
    assert "strips answers" in notes["gemma2"][0] and "prompt=alpaca" in notes["gemma2"][0]


BARE = prompt_cases.tokenizer()
PROMPTS = [
    (make_prompt(BARE, PromptConfig(template="alpaca")), BARE),
    qwen(),
    llama(),
    *(
        (make_prompt(prompt_cases.chat_tokenizer(name), PromptConfig(template="chat")),
         prompt_cases.chat_tokenizer(name))
        for name in ("smollm2", "gemma2", "mistral_v0_3")
    ),
]  # fmt: skip
WORDS = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8)
NAMES = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
CALLS = st.lists(
    st.builds(ToolCall, NAMES, st.dictionaries(WORDS, WORDS, max_size=2).map(json.dumps)),
    max_size=2,
).map(tuple)
ANSWERS = st.builds(
    Message,
    st.just(ASSISTANT),
    WORDS,
    reasoning=st.one_of(st.just(""), WORDS),
    tool_calls=CALLS,
    trains=st.booleans(),
)
TURNS = st.lists(
    st.one_of(ANSWERS, st.builds(Message, st.sampled_from([USER, TOOL]), WORDS)), max_size=4
)
ROWS = st.builds(
    lambda system, turns, last, tools: Example((*system, ASKED, *turns, last), tools),
    st.lists(st.builds(Message, st.just(SYSTEM), WORDS), max_size=1),
    TURNS,
    ANSWERS.map(lambda m: Message(m.role, m.text, "", m.reasoning, m.tool_calls)),
    st.sampled_from([(), TOOLS]),
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PROMPTS), ROWS)
def test_scoring_and_training_read_the_same_and_count_the_same_tokens(case, row):
    prompt, tokenizer = case
    anchor, alone = prompt.anchor(row), prompt.alone(row)
    assert answers(tokenizer, anchor) == answers(tokenizer, alone)
    demonstration = prompt.demonstration(row, max_tokens=10**6)
    [*_, last] = answers(tokenizer, alone)
    assert answers(tokenizer, demonstration)[-1] == last
    scored, trained = (decode(tokenizer, e.token_ids) for e in (anchor, alone))
    for message in row.messages:
        for text in (scored, trained):
            assert message.content in text
            assert all(call.name in text for call in message.tool_calls)
    assert row.messages[-1].reasoning in scored and row.messages[-1].reasoning in trained
    assert not row.tools or ("tide_table" in scored and "tide_table" in trained)
