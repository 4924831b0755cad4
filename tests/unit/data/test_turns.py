"""The turns of a conversation in every spelling, what a turn carries, where something is wrong."""

from typing import Any

import pytest

from nuggets_ray.data.reader import make_names
from nuggets_ray.data.turns import Turns, read_tool_calls, read_turns
from nuggets_ray.data.values import SkipRow
from nuggets_ray.records import Message, ToolCall


def read(value: Any, **roles: str) -> Turns:
    return read_turns(value, "chat", make_names({}, roles).turn)


QA = [Message("user", "q"), Message("assistant", "a")]
SPELLINGS: list[Any] = [
    [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
    [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}],
    [{"role": "prompter", "text": "q"}, {"role": "ai", "text": "a"}],
    [{"role": "USER", "value": "q"}, {"role": " Model ", "value": "a"}],
    [
        {"role": "user", "content": [{"type": "input_text", "text": "q"}]},
        ["p", "b"][:0] or {"role": "bot", "content": ["a"]},
    ],
    [{"input": "q", "output": "a"}],
    [{"human": "q", "assistant": "a"}],
    [{"question": "q", "answer": "a"}],
    [{"user": "q"}, {"assistant": "a", "user": None}],
    ["q", "a"],
    [["q", "a"]],
    [("q", "a")],
    '[{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]',
    ['{"role": "user", "content": "q"}', '{"role": "assistant", "content": "a"}'],
]


@pytest.mark.parametrize("value", SPELLINGS)
def test_a_conversation_is_the_same_in_every_spelling(value: Any) -> None:
    assert read(value).messages == QA


def test_an_exchange_may_hold_a_system_prompt_whatever_the_order_of_its_fields() -> None:
    turns = read([{"output": "a", "input": "q", "system": "s"}])
    assert turns.messages == [Message("system", "s"), *QA]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *(("tool_call", "assistant"), ("tool-calls", "assistant"), ("AI", "assistant")),
        *(("ipython", "tool"), ("Tool Response", "tool"), ("function", "tool")),
        *(("developer", "system"), ("Human ", "user")),
    ],
)
def test_role_names_of_the_field(name: str, role: str) -> None:
    assert read([{"role": name, "content": "x"}]).messages == [Message(role, "x")]


def test_roles_of_your_own_come_first() -> None:
    turns = [{"from": "Front Desk", "value": "a"}, {"from": "model", "value": "q"}]
    messages = read(turns, **{"front desk": "assistant", "model": "user"}).messages
    assert [message.role for message in messages] == ["assistant", "user"]


CALL = ToolCall("tide", '{"port": "Kiel"}')
CALLS: list[Any] = [
    [{"id": "1", "type": "function", "function": {"name": "tide", "arguments": '{"port":"Kiel"}'}}],
    [{"function": {"name": "tide", "arguments": {"port": "Kiel", "unit": None}}}],
    [{"name": "tide", "arguments": {"port": "Kiel"}}],
    {"name": "tide", "arguments": {"port": "Kiel"}},
    '[{"name": "tide", "arguments": {"port": "Kiel"}}]',
    ['{"name": "tide", "parameters": {"port": "Kiel"}}'],
]


@pytest.mark.parametrize("value", CALLS)
def test_tool_calls_are_the_same_in_every_spelling(value: Any) -> None:
    assert read_tool_calls(value, "tool_calls", "") == (CALL,)
    for content in ({"content": None}, {"content": ""}, {}):
        [message] = read([{"role": "assistant", "tool_calls": value, **content}]).messages
        assert (message.text, message.tool_calls) == ("", (CALL,))


def test_arguments_that_are_no_json_stay_as_they_are() -> None:
    older = {
        "role": "assistant",
        "content": None,
        "function_call": {"name": "f", "arguments": "x="},
    }
    assert read([older]).messages[0].tool_calls == (ToolCall("f", "x="),)
    assert read_tool_calls([{"name": "f"}], "tool_calls", "") == (ToolCall("f", "{}"),)


def test_reasoning_belongs_to_the_assistant() -> None:
    for name in ("reasoning_content", "thinking", "reasoning"):
        turns = read([{"role": "assistant", "content": "a", name: " why\n"}])
        assert turns.messages == [Message("assistant", "a", reasoning="why")]
        assert turns.read == {f"chat[].{name}"}
        assert read([{"role": "user", "content": "q", name: "why"}]).left == {f"chat[].{name}"}


@pytest.mark.parametrize(
    ("flag", "trains"),
    [
        *(({"weight": 0}, False), ({"weight": 1}, True), ({"weight": 0.0}, False)),
        *(({"train": False}, False), ({"training": True}, True), ({"weight": None}, True)),
        ({"weight": "light"}, True),
    ],
)
def test_a_flag_says_whether_a_turn_trains(flag: dict[str, Any], trains: bool) -> None:
    assert read([{"role": "assistant", "content": "a", **flag}]).messages[0].trains is trains


def test_a_flag_that_is_no_flag_and_what_else_a_turn_holds_are_told() -> None:
    turn = {"role": "assistant", "content": "a", "weight": "light", "name": "Ada", "empty": []}
    assert read([turn]).left == {"chat[].weight", "chat[].name"}


def test_null_is_no_text_of_a_system_turn_or_a_tool() -> None:
    for role in ("system", "tool"):
        assert read([{"role": role, "content": None}]).messages == [Message(role, "")]


WRONG: list[tuple[Any, str, str]] = [
    ("no turns", "wrong_type:chat", "a text that is no JSON list"),
    ({"role": "user"}, "wrong_type:chat", "an object"),
    (["q", 3], "wrong_type:chat", "int at turn 2"),
    ([{"role": "user", "content": None}], "wrong_type:content", "null at turn 1"),
    ([{"role": "user", "content": {"a": 1}}], "wrong_type:content", "an object at turn 1"),
    ([{"from": "user"}], "missing_field:value", "at turn 1"),
    ([{"role": "assistant"}], "missing_field:content", "at turn 1"),
    ([{"content": "q"}], "missing_field:role", "at turn 1"),
    ([{"value": "q"}], "missing_field:from", "at turn 1"),
    ([{"user": "Ada", "text": "q"}], "missing_field:role", "at turn 1"),
    ([{"role": "clerk", "content": "q"}], "unknown_role:clerk", "at turn 1"),
    ([["q", None]], "wrong_type:chat", "null at turn 1"),
    (
        [{"role": "assistant", "tool_calls": [{"id": "1"}]}],
        "wrong_type:tool_calls",
        "a call without a name at turn 1",
    ),
    ([{"role": "assistant", "tool_calls": 3}], "wrong_type:tool_calls", "int at turn 1"),
]


@pytest.mark.parametrize(("value", "reason", "detail"), WRONG)
def test_what_is_wrong_is_told_with_its_place(value: Any, reason: str, detail: str) -> None:
    with pytest.raises(SkipRow) as skip:
        read(value)
    assert (skip.value.reason, skip.value.detail) == (reason, detail)
