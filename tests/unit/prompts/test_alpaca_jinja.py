"""The chat template of a trained base model: what it renders is what was trained on."""

import json
from pathlib import Path

import pytest

from nuggets_ray.config.schema import ModelConfig, PromptConfig
from nuggets_ray.model.load import load_tokenizer
from nuggets_ray.prompts.alpaca_jinja import give_chat_template
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.records import Example, Message, ToolCall

TURNS = {
    "one": [("user", "Add 1 and 2."), ("assistant", "3")],
    "odd characters": [("user", 'A "quote", {{ braces }} {% too %}\\'), ("assistant", "\u00e9")],
    "system": [("system", "Be brief."), ("user", "1?"), ("assistant", "one")],
    "indented": [("user", "  Go on.\n"), ("assistant", " \n\r\n\t    return 1\n\nx \n")],
}


@pytest.mark.parametrize("name", TURNS)
def test_it_renders_what_prompt_alpaca_trains_on(tiny_model: Path, name: str) -> None:
    tokenizer = load_tokenizer(ModelConfig(str(tiny_model)))
    prompt = make_prompt(tokenizer, PromptConfig("alpaca"))
    example = Example(tuple(Message(role, text) for role, text in TURNS[name]))
    trained = prompt.anchor(example)
    header = prompt.zero_shot_prefix.tolist()
    assert give_chat_template(tokenizer, header)
    messages = [{"role": role, "content": text} for role, text in TURNS[name]]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    num_trained = len(header) + trained.num_tokens
    assert ids[:num_trained] == [*header, *trained.token_ids]
    assert ids[num_trained:] in ([], [tokenizer.eos_token_id])


def test_tools_calls_and_reasoning_are_written_out_as_in_training(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(ModelConfig(str(tiny_model)))
    prompt = make_prompt(tokenizer, PromptConfig("alpaca"))
    give_chat_template(tokenizer, prompt.zero_shot_prefix.tolist())
    call = ToolCall("add", '{"a": 1}')
    turns = [
        Message("user", "1 + 2?"),
        Message("assistant", "  Adding.", reasoning="So.", tool_calls=(call, call)),
        Message("tool", "3"),
        Message("assistant", "", tool_calls=(call,)),
    ]
    for system in ([], [Message("system", "Be brief.")]):
        example = Example((*system, *turns), ('{"name": "add"}', '{"name": "sub"}'))
        messages = [
            {
                "role": message.role,
                "content": message.text or None,
                "reasoning_content": message.reasoning,
                "tool_calls": [
                    {"function": {"name": c.name, "arguments": json.loads(c.arguments)}}
                    for c in message.tool_calls
                ],
            }
            for message in example.messages
        ]
        tools = [json.loads(tool) for tool in example.tools]
        rendered = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False)
        shown = rendered.replace(tokenizer.eos_token, "")
        assert tokenizer.decode(prompt.alone(example).token_ids) == shown
        assert rendered.count(tokenizer.eos_token) == 2


def test_the_next_answer_is_asked_for(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(ModelConfig(str(tiny_model)))
    give_chat_template(tokenizer, [])
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "1?"}], tokenize=False, add_generation_prompt=True
    )
    assert asked.endswith("### Instruction:\n1?\n\n### Response:\n")


def test_a_template_that_is_there_is_left_alone(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(ModelConfig(str(tiny_model)))
    tokenizer.chat_template = "own"
    assert not give_chat_template(tokenizer, []) and tokenizer.chat_template == "own"
