"""Which fields of a turn a chat template has a place for, found by rendering."""

import prompt_cases
import pytest

from nuggets_ray.prompts.chat_renderer import ChatRenderer
from nuggets_ray.records import Message, ToolCall

CALL = ToolCall("add", '{"a": 1}')
ANSWER = Message("assistant", "Adding.", reasoning="So.", tool_calls=(CALL,))
SPELLED_CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
TURNS = "{% for m in messages %}[{{ m.content }}]FIELDS{% endfor %}"


def renderer(fields: str) -> ChatRenderer:
    return ChatRenderer(prompt_cases.tokenizer(template=TURNS.replace("FIELDS", fields)))


@pytest.mark.parametrize("key", ["reasoning_content", "thinking", "reasoning"])
def test_reasoning_goes_under_the_key_that_the_template_reads(key: str) -> None:
    turn = renderer(f"{{{{ m.{key} }}}}").turn(ANSWER)
    assert turn == {"role": "assistant", "content": f"Adding.\n{SPELLED_CALL}", key: "So."}


@pytest.mark.parametrize(
    "fields, arguments",
    [("{{ c.function.arguments | tojson }}", {"a": 1}), ("{{ c.function.arguments }}", '{"a": 1}')],
)
def test_arguments_are_what_the_template_prints_as_json(fields: str, arguments: object) -> None:
    calls = f"{{% for c in m.tool_calls or [] %}}{{{{ c.function.name }}}}{fields}{{% endfor %}}"
    turn = renderer(calls).turn(ANSWER)
    assert turn["content"] == "<think>\nSo.\n</think>\n\nAdding."
    [call] = turn["tool_calls"]
    assert call["function"] == {"name": "add", "arguments": arguments}
    assert call["type"] == "function" and len(call["id"]) == 9


def test_without_a_place_all_is_text() -> None:
    turn = renderer("").turn(ANSWER)
    text = f"<think>\nSo.\n</think>\n\nAdding.\n{SPELLED_CALL}"
    assert turn == {"role": "assistant", "content": text}


def test_what_a_template_raises_is_no_rendering() -> None:
    assert (
        renderer("{{ raise_exception('no') }}").render([{"role": "user", "content": "x"}]) is None
    )
    one = [{"role": "user", "content": "x"}]
    assert renderer("").render(one) == "[x]"
    assert renderer("").render(one, tools=["no json"]) is None
    assert renderer("{{ tools[0].name }}").render(one, tools=['{"name": "add"}']) == "[x]add"
