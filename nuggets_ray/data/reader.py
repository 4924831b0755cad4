"""A row of a format -> its example, and the fields that it was read from.

A conversation is kept whole. A self-instruct row is one conversation, a question and an answer an
instance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nuggets_ray.data.conversation import canonical
from nuggets_ray.data.formats import FORMATS, Format
from nuggets_ray.data.spellings import (
    CARRIED,
    CONTENT,
    MEDIA,
    ROLE,
    ROLE_NAMES,
    is_empty,
    role_key,
)
from nuggets_ray.data.turns import TurnNames, Turns, read_turns
from nuggets_ray.data.values import (
    Fields,
    SkipRow,
    check_unicode,
    json_text,
    list_in,
    object_in,
    text_of,
    wrong_type,
)
from nuggets_ray.records import Example, Message


@dataclass(frozen=True, slots=True)
class Names:
    """What the fields that every format may have are called, in a row and in a turn."""

    row: Mapping[str, tuple[str, ...]]
    turn: TurnNames


@dataclass(frozen=True, slots=True)
class Read:
    """A row as it was read: its example, and the fields that it was read from and that hold
    something and were not read (those of turns as `messages[].weight`).
    """

    example: Example
    fields: tuple[str, ...]
    left: tuple[str, ...]


def make_names(columns: Mapping[str, str], roles: Mapping[str, str]) -> Names:
    """The tables of spellings.py under the user's own names (data.columns, data.roles)."""
    own = {field: (column,) for field, column in columns.items()}
    row = {
        field: own.get(field, tuple(name for name in names if name not in columns.values()))
        for field, names in CARRIED.items()
    }
    turn = TurnNames(
        role=own.get("role", ROLE),
        content=own.get("content", CONTENT),
        reasoning=CARRIED["reasoning"],
        tool_calls=CARRIED["tool_calls"],
        weight=own.get("weight", CARRIED["weight"]),
        roles=ROLE_NAMES | {role_key(name): role for name, role in roles.items()},
    )
    return Names(row, turn)


def read_row(value: object, format: Format, names: Names) -> Read:
    """The example in a decoded row, and which fields it was read from. Raises SkipRow: also for an
    image (video, audio) beside `<image>` in the text, which no text can show.
    """
    if isinstance(value, list) and format is FORMATS["messages"]:
        value = {"messages": value}
    if not isinstance(value, dict):
        raise SkipRow("not_an_object")
    row = Fields(value)
    turns = _turns(row, format, names)
    tools = _tools(row, names)
    messages = canonical(_with_system(row, turns.messages, names))
    left = [*row.left(), *sorted(turns.left)]
    _check_media(messages, left)
    return Read(Example(messages, tools), tuple([*row.read, *sorted(turns.read)]), tuple(left))


def _turns(row: Fields, format: Format, names: Names) -> Turns:
    if format.turns:
        return _conversation(row, format, names)
    if format is FORMATS["self_instruct"]:
        return _instances(row)
    if format is FORMATS["preference"]:
        return _preference(row, format, names)
    turns = _history(row, names)
    asked = _side(row, format.question, "user", names)
    if format.takes_input and len(asked.messages) == 1:
        asked.messages = [Message("user", asked.messages[0].text, _input(row, names))]
    answered = _side(row, format.answer, "assistant", names)
    _join(turns, asked, answered)
    return turns


def _conversation(row: Fields, format: Format, names: Names) -> Turns:
    turns = read_turns(*_swapped(row.need(format.turns)), names.turn)
    is_open = not turns.messages or turns.messages[-1].role != "assistant"
    if is_open and not is_empty(row.values.get(names.row["chosen"][0])):
        _join(turns, _side(row, names.row["chosen"], "assistant", names))
    return turns


def _preference(row: Fields, format: Format, names: Names) -> Turns:
    """{prompt, chosen}, where `chosen` may repeat the prompt, or hold it alone."""
    chosen = _side(row, format.answer, "assistant", names)
    if "prompt" not in row.values:
        return chosen
    turns = _history(row, names)
    asked = _side(row, format.question, "user", names)
    said = [m.content for m in asked.messages if m.role != "system"]
    repeated = [m.content for m in chosen.messages if m.role != "system"][: len(said)]
    if said == repeated:
        asked.messages = []
    _join(turns, asked, chosen)
    return turns


def _instances(row: Fields) -> Turns:
    """{instruction, instances: [{input?, output}]}: an instance is a question and its answer."""
    instruction = text_of(*_swapped(row.need(("instruction",))))
    name, value = row.need(("instances",))
    instances = list_in(value)
    if instances is None or not all(isinstance(item, dict) for item in instances):
        raise wrong_type(value, name)
    turns = Turns()
    for item in instances:
        fields = Fields(item)
        key, input = fields.take(("input",))
        output = fields.need(("output",))
        turns.messages.append(Message("user", instruction, text_of(input, key) if key else ""))
        turns.messages.append(Message("assistant", text_of(*_swapped(output))))
        turns.left.update(f"{name}[].{left}" for left in fields.left())
    return turns


def _side(row: Fields, columns: tuple[str, ...], role: str, names: Names) -> Turns:
    """A question or an answer: a text, or messages. Assistant turns of a question are context."""
    name, value = row.need(columns)
    items = _turns_in(value, names.turn)
    if items is None:
        key, reasoning = row.take(names.row["reasoning"]) if role == "assistant" else ("", None)
        thought = text_of(reasoning, key).strip() if key else ""
        return Turns([Message(role, text_of(value, name), reasoning=thought)])
    turns = read_turns(items, name, names.turn)
    if role == "user":
        turns.messages = [_as_context(message) for message in turns.messages]
    return turns


def _turns_in(value: Any, names: TurnNames) -> list[Any] | None:
    """The turns that a question or an answer holds in place of a text."""
    if isinstance(value, str) and value.lstrip()[:1] != "[":
        return None
    items = [value] if isinstance(value, dict) else list_in(value)
    turns = [object_in(item) for item in items or []]
    has_roles = all(turn and any(name in turn for name in names.role) for turn in turns)
    return items if turns and has_roles else None


def _as_context(message: Message) -> Message:
    if message.role != "assistant":
        return message
    return Message(message.role, message.text, "", message.reasoning, message.tool_calls, False)


def _input(row: Fields, names: Names) -> str:
    """The question's own context; what stands under a second name goes below it."""
    given = [row.take((name,)) for name in names.row["input"]]
    return "\n".join(text_of(value, name) for name, value in given if name)


def _history(row: Fields, names: Names) -> Turns:
    name, value = row.take(names.row["history"])
    return read_turns(value, name, names.turn) if name else Turns()


def _tools(row: Fields, names: Names) -> tuple[str, ...]:
    """Each tool as JSON text; () where what is there is no list of objects, which is then told as
    not read.
    """
    name, value = row.take(names.row["tools"])
    if not name:
        return ()
    single = object_in(value)
    items = [single] if single is not None else list_in(value)
    tools = [object_in(item) for item in items or []]
    if items is None or None in tools:
        row.read.remove(name)
        return ()
    texts = tuple(json_text(tool) for tool in tools)
    check_unicode(*texts)
    return texts


def _with_system(row: Fields, messages: list[Message], names: Names) -> list[Message]:
    """The row's own system prompt in front; a system turn that says something else goes below."""
    name, value = row.take(names.row["system"])
    system = text_of(value, name) if name else ""
    if not system.strip():
        return messages
    if not messages or messages[0].role != "system":
        return [Message("system", system), *messages]
    texts = dict.fromkeys((system.strip(), messages[0].content))
    return [Message("system", "\n".join(text for text in texts if text)), *messages[1:]]


def _check_media(messages: tuple[Message, ...], left: list[str]) -> None:
    for kind, columns in MEDIA.items() if left else ():
        column = next((name for name in left if name.rpartition(".")[2] in columns), None)
        if column and any(f"<{kind}>" in message.content for message in messages):
            raise SkipRow(f"needs_{kind}:{column}")


def _join(turns: Turns, *others: Turns) -> None:
    for other in others:
        turns.messages += other.messages
        turns.read |= other.read
        turns.left |= other.left


def _swapped(pair: tuple[str, Any]) -> tuple[Any, str]:
    return pair[1], pair[0]
