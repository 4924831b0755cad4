"""The turns of a conversation, however they are spelled -> messages.

A turn is {role, content}, an exchange {input, output} or {human: ..., assistant: ...}, a pair
[question, answer], a plain text (question and answer in turn), or the JSON text of any of them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nuggets_ray.data.spellings import PAIR_ROLES, TEXT_PARTS, is_absent, is_empty, role_key
from nuggets_ray.data.values import (
    Fields,
    SkipRow,
    json_text,
    list_in,
    object_in,
    text_of,
    wrong_type,
)
from nuggets_ray.records import ROLES, Message, ToolCall


@dataclass(frozen=True, slots=True)
class TurnNames:
    """What the fields of a turn and its roles may be called."""

    role: tuple[str, ...]
    content: tuple[str, ...]
    reasoning: tuple[str, ...]
    tool_calls: tuple[str, ...]
    weight: tuple[str, ...]
    roles: Mapping[str, str]

    def role_of(self, name: str, place: str) -> str:
        """The role that is called so. Raises SkipRow(unknown_role:...)."""
        role = self.roles.get(role_key(name))
        if role is None:
            raise SkipRow(f"unknown_role:{' '.join(name.split())[:40]}", place.strip())
        return role


@dataclass(slots=True)
class Turns:
    """Messages, and the fields of their turns as `messages[].weight`: of those that were read all
    but roles and contents, and those that hold something and were not.
    """

    messages: list[Message] = field(default_factory=list)
    read: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)


def read_turns(value: Any, column: str, names: TurnNames) -> Turns:
    """The messages in a list of turns, or in the JSON text of one. Raises SkipRow."""
    items = list_in(value)
    if items is None:
        raise wrong_type(value, column, " that is no JSON list" if isinstance(value, str) else "")
    turns = Turns()
    for number, item in enumerate(items, 1):
        place = f" at turn {number}"
        if isinstance(item, str):
            parsed = object_in(item)
            if parsed is None:
                role = "assistant" if number % 2 == 0 else "user"
                turns.messages.append(Message(role, item))
                continue
            item = parsed
        if isinstance(item, dict):
            _read_turn(item, column, place, names, turns)
        elif isinstance(item, list | tuple) and len(item) == 2:
            asked, answered = (text_of(text, column, place) for text in item)
            turns.messages += [Message("user", asked), Message("assistant", answered)]
        else:
            raise wrong_type(item, column, place)
    return turns


def _read_turn(
    turn: dict[str, Any], column: str, place: str, names: TurnNames, turns: Turns
) -> None:
    fields = Fields(turn)
    key = next((name for name in names.role if not is_absent(turn.get(name))), None)
    if key is None:
        turns.messages += _exchange(fields, place, names)
    else:
        role = names.role_of(_role_name(turn[key], key, place), place)
        fields.read.append(key)
        turns.messages.append(_message(fields, role, key, place, names))
    plain = (*names.role, *names.content)
    turns.read.update(f"{column}[].{name}" for name in fields.read if name not in plain)
    if len(fields.read) < len(turn):
        turns.left.update(f"{column}[].{name}" for name in fields.left())


def _role_name(value: Any, key: str, place: str) -> str:
    if not isinstance(value, str):
        raise wrong_type(value, key, place)
    return value


def _exchange(turn: Fields, place: str, names: TurnNames) -> list[Message]:
    """{system?, input, output}, or {human, assistant}: messages in the order of the roles."""
    given = turn.values
    role_key_there = next((name for name in names.role if name in given), None)
    if role_key_there is not None:
        raise wrong_type(given[role_key_there], role_key_there, place)
    exchange: dict[str, tuple[str, Any]] = {}
    if not any(name in given for name in names.content):
        for name, value in given.items():
            role = PAIR_ROLES.get(role_key(name)) or names.roles.get(role_key(name))
            if role is not None and not is_empty(value):
                exchange.setdefault(role, (name, value))
    if not exchange:
        raise SkipRow(f"missing_field:{'from' if 'value' in given else 'role'}", place.strip())
    turn.read += [name for name, _ in exchange.values()]
    return [
        Message(role, text_of(exchange[role][1], exchange[role][0], place))
        for role in ROLES
        if role in exchange
    ]


def _message(turn: Fields, role: str, key: str, place: str, names: TurnNames) -> Message:
    if role != "assistant":
        _trains(turn, names)
        return Message(role, _content(turn, role == "user", key, place, names))
    calls_key, calls = turn.take(names.tool_calls)
    tool_calls = read_tool_calls(calls, calls_key, place) if calls_key else ()
    reasoning_key, reasoning = turn.take(names.reasoning)
    return Message(
        role,
        _content(turn, not tool_calls, key, place, names),
        reasoning=text_of(reasoning, reasoning_key, place).strip() if reasoning_key else "",
        tool_calls=tool_calls,
        trains=_trains(turn, names),
    )


def _trains(turn: Fields, names: TurnNames) -> bool:
    """Whether the turn's flag, a weight or a truth, lets it train."""
    for name in names.weight:
        value = turn.values.get(name)
        if isinstance(value, int | float) and not is_absent(value):
            turn.read.append(name)
            return bool(value)
    return True


def _content(turn: Fields, is_needed: bool, key: str, place: str, names: TurnNames) -> str:
    if not is_needed and not any(name in turn.values for name in names.content):
        return ""
    default = "value" if key == "from" and "value" in names.content else names.content[0]
    try:
        name, value = turn.need(names.content, default)
    except SkipRow as skip:
        raise SkipRow(skip.reason, place.strip()) from None
    if is_absent(value) and not is_needed:
        return ""
    if isinstance(value, list | tuple):
        return "".join(_part(part, name, place) for part in value)
    return text_of(value, name, place)


def _part(part: Any, name: str, place: str) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        raise wrong_type(part, name, place)
    if part.get("type") not in (None, *TEXT_PARTS):
        raise SkipRow(f"wrong_type:{name}", f"a part of type {part['type']}{place}")
    key, value = Fields(part).need(("text", "value"))
    return text_of(value, key, place)


def read_tool_calls(value: Any, field: str, place: str) -> tuple[ToolCall, ...]:
    """Calls as [{function: {name, arguments}}], [{name, arguments}], one of them alone, or JSON
    text of that. Raises SkipRow.
    """
    single = object_in(value)
    items = [single] if single is not None else list_in(value)
    if items is None:
        raise wrong_type(value, field, place)
    return tuple(_tool_call(item, field, place) for item in items)


def _tool_call(item: Any, field: str, place: str) -> ToolCall:
    call = object_in(item)
    if call is None:
        raise wrong_type(item, field, place)
    function = object_in(call.get("function")) or call
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise SkipRow(f"wrong_type:{field}", f"a call without a name{place}")
    given = next((function[key] for key in ("arguments", "parameters") if key in function), None)
    return ToolCall(name, _arguments(given))


def _arguments(value: Any) -> str:
    if is_empty(value):
        return "{}"
    if not isinstance(value, str):
        return json_text(value)
    try:
        return json.dumps(json.loads(value), ensure_ascii=False)
    except (ValueError, RecursionError):
        return value
