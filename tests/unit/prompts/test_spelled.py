"""What stands beside the texts of a row, written out."""

import prompt_cases
import pytest
from prompt_cases import decode

from nuggets_ray.config.schema import PromptConfig
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.prompts.spelled import spell_answer, spell_out, with_tools
from nuggets_ray.records import Example, Message, ToolCall

CALL = ToolCall("add", '{"a": 1, "b": [2]}')
SUM = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": [2]}}\n</tool_call>'
ASKED = Message("user", "1 + 2?")


def test_reasoning_stands_before_an_answer_and_calls_behind_it():
    answer = Message("assistant", "  Adding.\n", reasoning=" So.\n", tool_calls=(CALL, CALL))
    assert spell_answer(answer) == Message(
        "assistant", f"<think>\nSo.\n</think>\n\n  Adding.\n{SUM}\n{SUM}"
    )
    assert spell_answer(answer, reasoning=False) == Message(
        "assistant", f"  Adding.\n{SUM}\n{SUM}", reasoning=" So.\n"
    )
    assert spell_answer(Message("assistant", "", tool_calls=(CALL,), trains=False)) == Message(
        "assistant", SUM, trains=False
    )


def test_arguments_that_are_no_json_are_a_text():
    odd = Message("assistant", "", tool_calls=(ToolCall("add", 'one "and" two'),))
    assert '"arguments": "one \\"and\\" two"}' in spell_answer(odd).text


def test_a_plain_row_is_as_it_is():
    messages = (ASKED, Message("assistant", " 3"))
    assert spell_out(Example(messages)) == messages


def test_tools_stand_below_the_system_turn():
    tools = ('{"name": "add"}', ' {"name": "sub"}\n')
    text = 'You may call these functions:\n{"name": "add"}\n{"name": "sub"}'
    assert with_tools((ASKED,), tools) == (Message("system", text), ASKED)
    system = Message("system", "Be brief.")
    assert with_tools((system, ASKED), tools)[0] == Message("system", f"Be brief.\n\n{text}")


@pytest.mark.parametrize("template", ["official", "alpaca"])
def test_prompts_without_a_chat_template_show_all_of_it(template):
    tokenizer = prompt_cases.tokenizer()
    prompt = make_prompt(tokenizer, PromptConfig(template=template))
    answer = Message("assistant", "Adding.", reasoning="So.", tool_calls=(CALL,))
    shown = Example((ASKED, answer), ('{"name": "add"}',))
    for render in (prompt.demonstration, prompt.anchor, prompt.alone):
        encoding = render(shown)
        text = decode(tokenizer, encoding.token_ids)
        assert 'You may call these functions:\n{"name": "add"}' in text
        answered = decode(tokenizer, encoding.token_ids[encoding.answer_mask])
        assert answered == f"<think>\nSo.\n</think>\n\nAdding.\n{SUM}"
