"""Tools, reasoning and tool calls written out as text: what a prompt without a place of its own for
them shows, in the form that most models know (Qwen's and Hermes').

    {system}                                    <think>
                                                {reasoning}
    You may call these functions:               </think>
    {a tool's JSON}
    {a tool's JSON}                             {answer}
                                                <tool_call>
                                                {"name": ..., "arguments": {...}}
                                                </tool_call>
"""

import json
from collections.abc import Sequence

from nuggets_ray.records import Example, Message, ToolCall

TOOLS_HEADING = "You may call these functions:"


def spell_out(example: Example) -> tuple[Message, ...]:
    """The messages as texts alone: nothing that carries meaning is beside them."""
    return tuple(spell_answer(message) for message in with_tools(example.messages, example.tools))


def plain_text(example: Example) -> str:
    """The row as one text, without a template, whose fixed words would make short rows alike."""
    return "\n".join(message.content for message in spell_out(example))


def spell_answer(message: Message, *, reasoning: bool = True, calls: bool = True) -> Message:
    """The message with its reasoning, its calls or both in its text."""
    if not (reasoning and message.reasoning) and not (calls and message.tool_calls):
        return message
    text = message.content
    if calls and message.tool_calls:
        text = "\n".join(part for part in (text, *map(_call_text, message.tool_calls)) if part)
    if reasoning and message.reasoning:
        text = f"<think>\n{message.reasoning.strip()}\n</think>\n\n{text}"
    return Message(
        message.role,
        text,
        reasoning="" if reasoning else message.reasoning,
        tool_calls=() if calls else message.tool_calls,
        trains=message.trains,
    )


def with_tools(messages: Sequence[Message], tools: Sequence[str]) -> tuple[Message, ...]:
    """The messages with the tools below the system turn, or in one of their own."""
    text = "\n".join((TOOLS_HEADING, *(tool.strip() for tool in tools))) if tools else ""
    return with_system(messages, text)


def with_system(messages: Sequence[Message], text: str) -> tuple[Message, ...]:
    """The messages with `text` below the leading system turn, or in one of its own."""
    if not text:
        return tuple(messages)
    if messages[0].role != "system":
        return (Message("system", text), *messages)
    return (Message("system", f"{messages[0].content}\n\n{text}"), *messages[1:])


def _call_text(call: ToolCall) -> str:
    arguments = call.arguments.strip() or "{}"
    try:
        json.loads(arguments)
    except ValueError:
        arguments = json.dumps(arguments, ensure_ascii=False)
    name = json.dumps(call.name, ensure_ascii=False)
    return f'<tool_call>\n{{"name": {name}, "arguments": {arguments}}}\n</tool_call>'
