"""A tokenizer's own chat template, taken apart into header, demonstration and anchor.

A demonstration is cut from the rendering of [demonstration turns, anchor turns], never rendered
alone, since a template may treat the last turn differently (Qwen3 opens a think block there only).
The template is rendered on sentinels to learn the text around each turn, once for every sequence of
roles; each row is then rendered for real and compared. chat_example.py adds what stands beside the
texts.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from os.path import commonprefix
from typing import Any, Literal

from nuggets_ray.prompts.chat_refusal import PAIR, refusal
from nuggets_ray.prompts.chat_renderer import SENTINEL, ChatRenderer, Turn, is_rich, sentinels
from nuggets_ray.records import Message

Mode = Literal["demonstration", "anchor", "alone"]
"""Before another example, as the last one, or a row by itself with the template's own header."""

# What is tried, in order, until the template takes it: which roles become user turns, and whether
# the turns are made to alternate (neighbours of one role merged, an empty user turn in front of a
# leading answer, and between answers of which one does not train).
_FOLDS: tuple[tuple[frozenset[str], bool], ...] = (
    (frozenset(), False),
    (frozenset({"system"}), False),
    (frozenset({"tool"}), False),
    (frozenset({"system", "tool"}), False),
    (frozenset({"system", "tool"}), True),
)


class TurnsRefusedError(Exception):
    """The template raises on this sequence of roles, drops a turn, or is not stable on it."""


@dataclass(frozen=True, slots=True)
class Scaffold:
    """The template's text around the N turns of one example: `pieces` (N + 1 of them).

    The rendering of `before` + the example's turns + `after` is `left` + the example's text +
    `right`. `tools`: what else is rendered with them.
    """

    roles: tuple[str, ...]
    pieces: tuple[str, ...]
    before: tuple[Turn, ...] = ()
    after: tuple[Turn, ...] = ()
    left: str = ""
    right: str = ""
    tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChatLayout:
    """An example cut at its N turns: `texts` (N) between `pieces` (N + 1). `has_marks`: special
    tokens of the data are put away.
    """

    turns: tuple[Message, ...]
    pieces: tuple[str, ...]
    texts: tuple[str, ...]
    has_marks: bool = False


def fold(messages: Sequence[Message], refused: frozenset[str], alternate: bool) -> list[Message]:
    """The turns with every role in `refused` made a user turn, joined by a blank line to a
    neighbouring user turn.
    """
    folded: list[Message] = []
    for message in messages:
        if message.role in refused:
            message = Message("user", message.content)
        may_merge = alternate or (bool(refused) and message.role == "user")
        if folded and folded[-1].role == message.role and may_merge:
            if folded[-1].is_answer != message.is_answer:
                folded.append(Message("user", ""))
            else:
                texts = (folded.pop().content, message.content)
                text = "\n\n".join(part for part in texts if part)
                message = Message(message.role, text, trains=message.trains)
        folded.append(message)
    if alternate and folded[0].role != "user":
        folded.insert(0, Message("user", ""))
    return folded


class ChatTemplate:
    """The template of one tokenizer; UserError where a demonstration cannot be put in front of an
    anchor.

    `header` is the text in front of both passes (BOS, a default system prompt). An example's own
    system turn follows it as a turn of the example, so the header is the same on both sides; where
    the template refuses a system or tool turn in that place, or silently drops it, its text goes in
    front of the user turn that follows.
    """

    def __init__(self, tokenizer: Any, special_pattern: re.Pattern[str]) -> None:
        self.renderer = ChatRenderer(tokenizer)
        self._tokenizer = tokenizer
        self.special_pattern = special_pattern
        self.learn = lru_cache(maxsize=4096)(self._try_folds)
        self._ends_text = False
        try:
            alone = self.split(PAIR)
            self._tail = alone[-1]
            pair = self.split(PAIR + PAIR)
            opening = pair[2][self._border(pair[2]) :]
            if not alone[0].endswith(opening):
                self._ends_text = True
                opening = pair[2][self._border(pair[2]) :]
                if not (opening and alone[0].endswith(opening)):
                    raise TurnsRefusedError
        except TurnsRefusedError:
            raise refusal(tokenizer) from None
        self.header = alone[0].removesuffix(opening)
        self._pair_pieces = (pair[0], pair[1], pair[2][: self._border(pair[2])])
        self._next_pieces = (opening, pair[3], pair[4])
        for roles in (PAIR, PAIR + PAIR):
            self.learn(tuple(Message(role, "") for role in roles), "demonstration")
            self.learn(tuple(Message(role, "") for role in roles), "anchor")

    def trims_answers(self) -> bool:
        """The template strips what indents an answer."""
        turns = [{"role": role, "content": f"  {role} x"} for role in PAIR]
        return "  assistant x" not in (self.renderer.render(turns) or "")

    def lay_out(self, messages: Sequence[Message], mode: Mode) -> ChatLayout:
        """The example's part of the rendering in that mode; of each message the text counts."""
        (refused, alternate), scaffold = self.learn(bare(messages), mode)
        folded = fold(messages, refused, alternate)
        turns = [self.renderer.turn(message) for message in folded]
        texts = tuple(message.content for message in folded)
        expected = scaffold.left + _fill(scaffold.pieces, texts) + scaffold.right
        if self.renderer.render([*scaffold.before, *turns, *scaffold.after]) != expected:
            # Where two turns change each other's text, the texts stand as they are.
            rewritten = self.rewritten(scaffold, folded, turns)
            if rewritten is not None:
                return rewritten
        return ChatLayout(tuple(folded), scaffold.pieces, texts)

    def split(self, roles: Sequence[str], tools: Sequence[str] = ()) -> tuple[str, ...]:
        """The text around each turn (N + 1 pieces), every turn shown exactly once and in order."""
        rendered = self.renderer.render(sentinels(roles), tools)
        if rendered is None:
            raise TurnsRefusedError
        parts = SENTINEL.split(rendered)
        if parts[1::2] != [str(i) for i in range(len(roles))]:
            raise TurnsRefusedError
        return tuple(parts[::2])

    def _border(self, gap: str) -> int:
        """Where the text between two examples is cut: after what ends a conversation, else after
        its end token; in a template that ends the last turn by the end of text too (Phi-3), in
        front of the special token where another turn differs from that.
        """
        if gap.startswith(self._tail):
            return len(self._tail)
        if self._ends_text:
            num_same = len(commonprefix((gap, self._tail)))
            starts = [token.start() for token in self.special_pattern.finditer(gap)]
            return max((start for start in starts if start <= num_same), default=0)
        end_token = self.special_pattern.match(gap)
        return end_token.end() if end_token else 0

    def _try_folds(
        self, turns: tuple[Message, ...], mode: Mode
    ) -> tuple[tuple[frozenset[str], bool], Scaffold]:
        for folds in _FOLDS:
            roles = tuple(message.role for message in fold(turns, *folds))
            try:
                if mode == "alone":
                    return folds, Scaffold(roles, self.split(roles))
                return folds, self._scaffold(roles, mode == "demonstration")
            except TurnsRefusedError:
                continue
        raise refusal(self._tokenizer)

    def _scaffold(self, roles: tuple[str, ...], is_demonstration: bool) -> Scaffold:
        """Cut the example out of [a pair, the example, a pair if it is a demonstration], and check
        stability.
        """
        after = PAIR if is_demonstration else ()
        pieces = self.split(PAIR + roles + after)
        num_own = len(roles)
        first_gap, last_gap = pieces[2], pieces[2 + num_own]
        first_cut = self._border(first_gap)
        last_cut = self._border(last_gap) if is_demonstration else len(last_gap)
        own = (first_gap[first_cut:], *pieces[3 : 2 + num_own], last_gap[:last_cut])
        # What stands before does not depend on this example, nor does what follows.
        if (pieces[0], pieces[1], first_gap[:first_cut]) != self._pair_pieces:
            raise TurnsRefusedError
        if is_demonstration and (last_gap[last_cut:], *pieces[3 + num_own :]) != self._next_pieces:
            raise TurnsRefusedError
        right = _with_sentinels(self._next_pieces) if is_demonstration else ""
        before: tuple[Turn, ...] = ()
        left = self.header
        if roles[0] == "system":
            # A leading system turn would take the place of the header's default one, so a pair
            # stands in front of it.
            before, left = tuple(sentinels(PAIR)), _with_sentinels(self._pair_pieces)
        else:
            alone = self.split(roles + after)
            if alone[: num_own + 1] != (self.header + own[0], *own[1:-1], last_gap):
                raise TurnsRefusedError
        return Scaffold(roles, own, before, tuple(sentinels(after)), left, right)

    def rewritten(
        self, scaffold: Scaffold, messages: Sequence[Message], turns: Sequence[Turn]
    ) -> ChatLayout | None:
        """The layout where the template changes a text (JSON around a tool's, a think block moved,
        calls written out). None where it raises, or two turns change each other's text.

        Each turn is rendered for real among sentinels: what differs from the rendering on sentinels
        alone is that turn's text.
        """
        marked = sentinels(scaffold.roles)
        base = self._render_in(scaffold, marked) or ""
        pieces: list[str] = []
        texts: list[str] = []
        position = len(scaffold.left)
        for index, (message, turn) in enumerate(zip(messages, turns, strict=True)):
            rendered = self._render_in(scaffold, [*marked[:index], turn, *marked[index + 1 :]])
            if rendered is None:
                return None
            start = len(commonprefix((base, rendered)))
            num_same = self._num_same_behind(base, rendered, start)
            stop = len(base) - num_same
            if start < position or SENTINEL.findall(base, position, stop) != [str(index)]:
                return None
            text = rendered[start : len(rendered) - num_same]
            num_specials = [len(self.special_pattern.findall(t)) for t in (text, message.content)]
            if not is_rich(message) and num_specials[0] > num_specials[1]:
                return None  # it reaches into the template's own text, whose tokens are special
            pieces.append(base[position:start])
            texts.append(text)
            position = stop
        end = len(base) - len(scaffold.right)
        if position > end:
            return None
        return ChatLayout(tuple(messages), (*pieces, base[position:end]), tuple(texts))

    def _render_in(self, scaffold: Scaffold, turns: Sequence[Turn]) -> str | None:
        rendered = [*scaffold.before, *turns, *scaffold.after]
        return self.renderer.render(rendered, scaffold.tools)

    def _num_same_behind(self, base: str, rendered: str, start: int) -> int:
        """How many characters behind the texts that differ are the same, no special token cut."""
        num_same = len(commonprefix((base[start:][::-1], rendered[start:][::-1])))
        for text in (base, rendered):
            cut = len(text) - num_same
            for token in self.special_pattern.finditer(text, start):
                if token.start() < cut < token.end():
                    num_same = len(text) - token.end()
        return num_same


def bare(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The turns without their texts: what decides how they are folded."""
    return tuple(Message(message.role, "", trains=message.trains) for message in messages)


def _fill(pieces: Sequence[str], texts: Sequence[str]) -> str:
    """N + 1 pieces with N texts between them."""
    return pieces[0] + "".join(t + p for t, p in zip(texts, pieces[1:], strict=True))


def _with_sentinels(pieces: Sequence[str]) -> str:
    return _fill(pieces, [turn["content"] for turn in sentinels(pieces[1:])])
