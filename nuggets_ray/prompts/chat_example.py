"""Whole examples through a chat template, as text segments: tools, reasoning and calls in the
places that the template has for them, written out as text (spelled.py) otherwise.

Where a template writes more than a text into a turn, its special tokens stand among the data. So
those of the data are put away under marks while it renders, and what is left is the template's.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from nuggets_ray.prompts.chat_renderer import is_rich, sentinel
from nuggets_ray.prompts.chat_template import (
    ChatLayout,
    ChatTemplate,
    Mode,
    TurnsRefusedError,
    bare,
    fold,
)
from nuggets_ray.prompts.spelled import spell_answer, with_tools
from nuggets_ray.prompts.token_mask import TextSegment
from nuggets_ray.records import Example, Message, ToolCall

Messages = Sequence[Message]
REASONING = 1_000_000
"""Sentinels from here on are none of a turn's."""


@dataclass(frozen=True, slots=True)
class Segments:
    """An example as text segments; from `tail_start` on they follow the last turn's text."""

    segments: tuple[TextSegment, ...]
    tail_start: int


class ChatExamples:
    """Lays out examples by one chat template.

    Scored, an example stands behind a header that all share, so its tools go into a system turn of
    its own: in the template's words where these stand in its system turn, else written out. Alone,
    they stand where the template puts them. A demonstration whose reasoning the template would
    drop, because another question follows, is rendered as the last example is.
    """

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template
        self._special_pattern = template.special_pattern
        self._ends_special = re.compile(rf"(?:{template.special_pattern.pattern})\Z")
        self._marks: dict[str, str] = {}
        self._words_for = lru_cache(maxsize=256)(self._system_words)
        self._drops_reasoning = lru_cache(maxsize=4096)(self._try_reasoning)

    def scored(self, example: Example, *, is_demonstration: bool) -> Segments:
        """The example's part of a pass: in front of an anchor, or as the anchor."""
        messages = self._with_tools(example)
        mode: Mode = "demonstration" if is_demonstration else "anchor"
        layout = self._lay_out(messages, mode)
        if is_demonstration and layout and any(message.reasoning for message in messages):
            last = self._lay_out(messages, "anchor")
            if last and self._drops_reasoning(_shape(messages)):
                layout = replace(last, pieces=(*last.pieces[:-1], layout.pieces[-1]))
        if layout is None:
            layout = self._template.lay_out([spell_answer(m) for m in messages], mode)
        return self._segments(layout)

    def alone(self, example: Example) -> Segments:
        """The whole rendering of the example by itself, header included."""
        spelled = tuple(spell_answer(message) for message in example.messages)
        for messages in (example.messages, spelled):
            for tools in _tool_forms(example.tools):
                if layout := self._lay_out(messages, "alone", tools):
                    return self._segments(layout)
            if layout := self._lay_out(with_tools(messages, example.tools), "alone"):
                return self._segments(layout)
        raise AssertionError("texts alone have a layout in every template")

    def _lay_out(
        self, messages: Messages, mode: Mode, tools: Sequence[str] = ()
    ) -> ChatLayout | None:
        """The layout of the messages, with marks where there is more to them than texts. None where
        the template does not take or show what is beside the texts.
        """
        is_beyond_text = any(map(is_rich, messages))
        if not is_beyond_text and not tools:
            return self._template.lay_out(messages, mode)
        (refused, alternate), scaffold = self._template.learn(bare(messages), mode)
        if alternate and is_beyond_text:
            return None
        if tools:
            scaffold = replace(scaffold, tools=tuple(map(self._mark, tools)))
            try:
                pieces = self._template.split(scaffold.roles, scaffold.tools)
            except TurnsRefusedError:
                return None
            if not _is_shown(tools, "".join(pieces), "".join(scaffold.pieces)):
                return None
        folded = fold([self._marked(message) for message in messages], refused, alternate)
        turns = [self._template.renderer.turn(message) for message in folded]
        layout = self._template.rewritten(scaffold, folded, turns)
        return layout and replace(layout, has_marks=True)

    def _try_reasoning(self, shape: tuple[Message, ...]) -> bool:
        """The template shows some reasoning of these turns, but not before another question."""
        last, shown = self._lay_out(shape, "anchor"), self._lay_out(shape, "demonstration")
        if last is None or shown is None:
            return False
        texts = ("".join(last.texts), "".join(shown.texts))
        reasoning = [message.reasoning for message in shape if message.reasoning]
        return any(text in texts[0] and text not in texts[1] for text in reasoning)

    def _with_tools(self, example: Example) -> Messages:
        """The messages with the tools in a system turn, or below what is in it."""
        words = self._words_for(example.tools) if example.tools else None
        if words is None:
            return with_tools(example.messages, example.tools)
        has_system = example.messages[0].role == "system"
        system = example.messages[0].content if has_system else ""
        text = (words[0] + system + words[1]).strip()
        return (Message("system", text), *example.messages[int(has_system) :])

    def _system_words(self, tools: tuple[str, ...]) -> tuple[str, str] | None:
        """What the template puts before and behind the text of a system turn for these tools; None
        where it puts them elsewhere, or nowhere.
        """
        roles = ("system", "user", "assistant")
        for form in _tool_forms(tools):
            try:
                plain = self._template.split(roles)
                shown = self._template.split(roles, tuple(map(self._mark, form)))
            except TurnsRefusedError:
                continue
            is_in_system = shown[0].startswith(plain[0]) and shown[1].endswith(plain[1])
            if shown[2:] != plain[2:] or not is_in_system:
                continue
            before = shown[0][len(plain[0]) :]
            behind = shown[1][: len(shown[1]) - len(plain[1])]
            if self._special_pattern.search(before + behind):
                continue
            if _is_shown(form, before + behind, ""):
                return self._unmarked(before), self._unmarked(behind)
        return None

    def _segments(self, layout: ChatLayout) -> Segments:
        cut = self._stretches if layout.has_marks else _whole
        segments = [*cut(layout.pieces[0], False, False)]
        tail_start = len(segments)
        for message, text, piece in zip(layout.turns, layout.texts, layout.pieces[1:], strict=True):
            segments += cut(text, True, message.is_answer)
            tail_start = len(segments)
            # what a template writes into a turn may bring its own end (Llama 3.1's of a call)
            has_end = layout.has_marks and bool(self._ends_special.search(text))
            end_token = self._special_pattern.match(piece) if message.is_answer else None
            if end_token and not has_end:
                segments.append(TextSegment(end_token.group(), is_answer=True))
                piece = piece[end_token.end() :]
            segments += cut(piece, False, False)
        return Segments(tuple(segments), tail_start)

    def _stretches(self, text: str, _: bool, is_answer: bool) -> Iterator[TextSegment]:
        """Text with marks: its special tokens are the template's, all the rest may be data."""
        position = 0
        for token in self._special_pattern.finditer(text):
            if token.group():
                between = self._unmarked(text[position : token.start()])
                yield TextSegment(between, is_data=True, is_answer=is_answer)
                yield TextSegment(token.group(), is_answer=is_answer)
                position = token.end()
        yield TextSegment(self._unmarked(text[position:]), is_data=True, is_answer=is_answer)

    def _marked(self, message: Message) -> Message:
        calls = (ToolCall(self._mark(c.name), self._mark(c.arguments)) for c in message.tool_calls)
        return Message(
            message.role,
            self._mark(message.content),
            reasoning=self._mark(message.reasoning),
            tool_calls=tuple(calls),
            trains=message.trains,
        )

    def _mark(self, text: str) -> str:
        return self._special_pattern.sub(lambda token: self._mark_of(token.group()), text)

    def _mark_of(self, special: str) -> str:
        return self._marks.setdefault(special, f"\ufdd2{len(self._marks)}\ufdd3")

    def _unmarked(self, text: str) -> str:
        if "\ufdd2" in text:
            for special, mark in self._marks.items():
                text = text.replace(mark, special)
        return text


def _whole(text: str, is_data: bool, is_answer: bool) -> Iterator[TextSegment]:
    yield TextSegment(text, is_data, is_answer)


def _shape(messages: Messages) -> tuple[Message, ...]:
    """What decides where a template puts the parts of each turn, with sentinels for reasoning."""
    return tuple(
        Message(
            message.role,
            "x" if message.content else "",
            reasoning=sentinel(REASONING + index) if message.reasoning else "",
            tool_calls=(ToolCall("x", "{}"),) * len(message.tool_calls),
            trains=message.trains,
        )
        for index, message in enumerate(messages)
    )


def _tool_forms(tools: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The tools as they are, and those that are a bare function as OpenAI's `function`."""
    yield tools
    wrapped = tuple(_wrapped(tool) for tool in tools)
    if wrapped != tools:
        yield wrapped


def _wrapped(tool: str) -> str:
    given = _tool(tool)
    if "function" in given or "name" not in given:
        return tool
    return json.dumps({"type": "function", "function": given}, ensure_ascii=False)


def _is_shown(tools: Sequence[str], with_tools: str, without: str) -> bool:
    """Every tool's name stands in the rendering with the tools, which is another than without."""
    names = [_name(tool) for tool in tools]
    return with_tools != without and all(name and name in with_tools for name in names)


def _name(tool: str) -> str:
    given = _tool(tool)
    function = given.get("function")
    return str((function if isinstance(function, dict) else given).get("name") or "")


def _tool(tool: str) -> dict[str, object]:
    try:
        given = json.loads(tool)
    except ValueError:
        return {}
    return given if isinstance(given, dict) else {}
