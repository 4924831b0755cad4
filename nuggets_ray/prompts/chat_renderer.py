"""A tokenizer's chat template as a function of turns, and which of an answer's fields it shows.

A field has a place in a template if its text appears in the rendering: it is tried with sentinels,
characters that no text may hold. What has none is written out as text (spelled.py).
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import product
from typing import Any

import jinja2

from nuggets_ray.prompts.spelled import spell_answer
from nuggets_ray.records import Message, ToolCall

# Templates that print today's date would give other scores tomorrow. Llama 3.1 falls back to this
# very day.
FROZEN_DATE = datetime(2024, 7, 26)
SENTINEL = re.compile("\ufdd0(\\d+)\ufdd1")
REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")
"""What templates call an answer's reasoning."""

REFUSALS = (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError)
"""What comes of a template that does not take its turns."""

Turn = dict[str, Any]
"""A message as chat templates take it: role, content, and what else it has."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a template takes an answer: the key of its reasoning, and whether the arguments of a call
    are an object or their JSON text. None: it has no place for that.
    """

    reasoning_key: str | None = None
    arguments: str | None = None


class ChatRenderer:
    """Renders turns by the chat template of one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._form = lru_cache(maxsize=4096)(self._find_form)

    def render(self, turns: Sequence[Turn], tools: Sequence[str] = ()) -> str | None:
        """The template's text, or None where it raises. `tools` as JSON text."""
        try:
            return self._render(turns, tools)
        except REFUSALS:
            return None

    def refuses(self, turns: Sequence[Turn]) -> str | None:
        """What the template says where it raises on these turns; None where it takes them."""
        try:
            self._render(turns, ())
        except REFUSALS as error:
            return " ".join(str(error).split()) or type(error).__name__
        return None

    def _render(self, turns: Sequence[Turn], tools: Sequence[str]) -> str:
        more = {"tools": [json.loads(tool) for tool in tools]} if tools else {}
        rendered = self._tokenizer.apply_chat_template(
            turns,
            tokenize=False,
            date_string=FROZEN_DATE.strftime("%d %b %Y"),
            strftime_now=FROZEN_DATE.strftime,
            **more,
        )
        return str(rendered)

    def turn(self, message: Message) -> Turn:
        """The message as the template takes it, and in its text what has no place there."""
        if not is_rich(message):
            return {"role": message.role, "content": message.content}
        shape = (bool(message.content), bool(message.reasoning), len(message.tool_calls))
        return _as_turn(message, self._form(*shape))

    def _find_form(self, has_text: bool, has_reasoning: bool, num_calls: int) -> Form:
        numbers = iter(range(1, 3 + 3 * num_calls))
        message = Message(
            "assistant",
            sentinel(next(numbers)) if has_text else "",
            reasoning=sentinel(next(numbers)) if has_reasoning else "",
            tool_calls=tuple(_probe_call(numbers) for _ in range(num_calls)),
        )
        asked = {"role": "user", "content": sentinel(0)}
        for form in _forms(has_reasoning, num_calls > 0):
            rendered = self.render([asked, _as_turn(message, form)]) or ""
            if all(part in rendered for part in _parts(message)) and not _is_repr(rendered):
                return form
        return Form()


def is_rich(message: Message) -> bool:
    """There is more to it than a text."""
    return bool(message.reasoning or message.tool_calls)


def sentinel(number: int) -> str:
    return f"\ufdd0{number}\ufdd1"


def sentinels(roles: Sequence[str]) -> list[Turn]:
    """Turns whose texts, of characters that no text may hold, are found again in the rendering."""
    return [{"role": role, "content": sentinel(index)} for index, role in enumerate(roles)]


def _forms(has_reasoning: bool, has_calls: bool) -> Iterator[Form]:
    """The forms to try, those that write out least first."""
    keys = (*REASONING_KEYS, None) if has_reasoning else (None,)
    arguments = ("object", "text", None) if has_calls else (None,)
    pairs = [Form(key, kind) for key, kind in product(keys, arguments)]
    yield from sorted(pairs, key=lambda f: (f.reasoning_key is None) + (f.arguments is None))


def _as_turn(message: Message, form: Form) -> Turn:
    is_spelled = {"reasoning": form.reasoning_key is None, "calls": form.arguments is None}
    shown = spell_answer(message, **is_spelled)
    turn: Turn = {"role": shown.role, "content": shown.content}
    if shown.reasoning:
        turn[str(form.reasoning_key)] = shown.reasoning.strip()
    if shown.tool_calls:
        turn["tool_calls"] = [
            {
                "id": f"call{index:05d}",  # Mistral's templates want nine letters and digits
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call, form)},
            }
            for index, call in enumerate(shown.tool_calls)
        ]
    return turn


def _arguments(call: ToolCall, form: Form) -> object:
    if form.arguments == "text":
        return call.arguments
    try:
        return json.loads(call.arguments or "{}")
    except ValueError:
        return call.arguments


def _probe_call(numbers: Iterator[int]) -> ToolCall:
    name, key, value = (sentinel(next(numbers)) for _ in range(3))
    return ToolCall(name, json.dumps({key: value}, ensure_ascii=False))


def _parts(message: Message) -> list[str]:
    """Every sentinel in a probe."""
    texts = (message.text, message.reasoning, *(c.name + c.arguments for c in message.tool_calls))
    return [match.group() for text in texts for match in SENTINEL.finditer(text)]


def _is_repr(rendered: str) -> bool:
    """An object was printed as Python prints it, so the template wants text."""
    return "{'\ufdd0" in rendered
