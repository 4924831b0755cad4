"""A tokenizer's own chat template, taken apart into header, demonstration and anchor.

A demonstration is cut from the rendering of [demonstration turns, anchor turns], never rendered
alone, since a template may treat the last turn differently (Qwen3 opens a think block there only).
The template is rendered on sentinels to learn the text around each turn, once for every sequence of
roles; each row is then rendered for real and compared.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from os.path import commonprefix
from typing import Any

import jinja2

from nuggets_ray.errors import UserError
from nuggets_ray.prompts.token_mask import TextSegment

Turn = tuple[str, str]
"""(role, text)"""

# Templates that print today's date would give other scores tomorrow. Llama 3.1 falls back to this
# very day.
FROZEN_DATE = datetime(2024, 7, 26)
_PAIR = ("user", "assistant")
_SENTINEL = re.compile("\ufdd0(\\d+)\ufdd1")

# What is tried, in order, until the template takes it: which roles become user turns, and whether
# the turns are made to alternate (neighbours of one role merged, an empty user turn in front of a
# leading answer).
_FOLDS: tuple[tuple[frozenset[str], bool], ...] = (
    (frozenset(), False),
    (frozenset({"system"}), False),
    (frozenset({"tool"}), False),
    (frozenset({"system", "tool"}), False),
    (frozenset({"system", "tool"}), True),
)


class _RefusedError(Exception):
    """The template raises on this sequence of roles, drops a turn, or is not stable on it."""


@dataclass(frozen=True, slots=True)
class _Scaffold:
    """The template's text around the N turns of one example: `pieces` (N + 1 of them).

    The rendering of `before` + the example's turns + `after` is `left` + the example's text +
    `right`.
    """

    roles: tuple[str, ...]
    pieces: tuple[str, ...]
    before: tuple[Turn, ...]
    after: tuple[Turn, ...]
    left: str
    right: str


def fold(turns: Sequence[Turn], refused: frozenset[str], alternate: bool) -> list[Turn]:
    """The turns with every role in `refused` made a user turn, joined by a blank line to a
    neighbouring user turn.
    """
    folded: list[Turn] = []
    for role, text in turns:
        role = "user" if role in refused else role
        may_merge = alternate or (bool(refused) and role == "user")
        if folded and folded[-1][0] == role and may_merge:
            text = "\n\n".join(part for part in (folded.pop()[1], text) if part)
        folded.append((role, text))
    if alternate and folded[0][0] != "user":
        folded.insert(0, ("user", ""))
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
        self._tokenizer = tokenizer
        self._special_pattern = special_pattern
        self._learn = lru_cache(maxsize=4096)(self._try_folds)
        self._ends_text = False
        try:
            alone = self._split(_PAIR)
            self._tail = alone[-1]
            pair = self._split(_PAIR + _PAIR)
            opening = pair[2][self._border(pair[2]) :]
            if not alone[0].endswith(opening):
                self._ends_text = True
                opening = pair[2][self._border(pair[2]) :]
                if not (opening and alone[0].endswith(opening)):
                    raise _RefusedError
        except _RefusedError:
            raise _unstable() from None
        self.header = alone[0].removesuffix(opening)
        self._pair_pieces = (pair[0], pair[1], pair[2][: self._border(pair[2])])
        self._next_pieces = (opening, pair[3], pair[4])
        for roles in (_PAIR, _PAIR + _PAIR):
            self._learn(roles, True)
            self._learn(roles, False)

    def segments(self, turns: Sequence[Turn], *, is_demonstration: bool) -> list[TextSegment]:
        """The example's part of the rendering: before another example, or as the last one (an
        anchor).
        """
        (refused, alternate), scaffold = self._learn(tuple(r for r, _ in turns), is_demonstration)
        folded = fold(turns, refused, alternate)
        texts = [text for _, text in folded]
        expected = scaffold.left + _fill(scaffold.pieces, texts) + scaffold.right
        pieces: Sequence[str] = scaffold.pieces
        if self._render([*scaffold.before, *folded, *scaffold.after]) != expected:
            pieces, texts = self._rewritten(scaffold, folded)
        return self._interleave(scaffold.roles, pieces, texts)

    def _render(self, turns: Sequence[Turn]) -> str | None:
        """The template's text, or None where it raises."""
        try:
            rendered = self._tokenizer.apply_chat_template(
                [{"role": role, "content": text} for role, text in turns],
                tokenize=False,
                date_string=FROZEN_DATE.strftime("%d %b %Y"),
                strftime_now=FROZEN_DATE.strftime,
            )
        except (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError):
            return None
        return str(rendered)

    def _split(self, roles: Sequence[str]) -> list[str]:
        """The text around each turn (N + 1 pieces), every turn shown exactly once and in order."""
        rendered = self._render(_sentinels(roles))
        if rendered is None:
            raise _RefusedError
        parts = _SENTINEL.split(rendered)
        if parts[1::2] != [str(i) for i in range(len(roles))]:
            raise _RefusedError
        return parts[::2]

    def _border(self, gap: str) -> int:
        """Where the text between two examples is cut: after what ends a conversation, else after
        its end token; in a template that ends the last turn by the end of text too (Phi-3), in
        front of the special token where another turn differs from that.
        """
        if gap.startswith(self._tail):
            return len(self._tail)
        if self._ends_text:
            num_same = len(commonprefix((gap, self._tail)))
            starts = [token.start() for token in self._special_pattern.finditer(gap)]
            return max((start for start in starts if start <= num_same), default=0)
        end_token = self._special_pattern.match(gap)
        return end_token.end() if end_token else 0

    def _try_folds(
        self, roles: tuple[str, ...], is_demonstration: bool
    ) -> tuple[tuple[frozenset[str], bool], _Scaffold]:
        for folds in _FOLDS:
            folded = tuple(role for role, _ in fold([(role, "") for role in roles], *folds))
            try:
                return folds, self._scaffold(folded, is_demonstration)
            except _RefusedError:
                continue
        raise _unstable()

    def _scaffold(self, roles: tuple[str, ...], is_demonstration: bool) -> _Scaffold:
        """Cut the example out of [a pair, the example, a pair if it is a demonstration], and check
        stability.
        """
        after = _PAIR if is_demonstration else ()
        pieces = self._split(_PAIR + roles + after)
        num_own = len(roles)
        first_gap, last_gap = pieces[2], pieces[2 + num_own]
        first_cut = self._border(first_gap)
        last_cut = self._border(last_gap) if is_demonstration else len(last_gap)
        own = (first_gap[first_cut:], *pieces[3 : 2 + num_own], last_gap[:last_cut])
        # What stands before does not depend on this example, nor does what follows.
        if (pieces[0], pieces[1], first_gap[:first_cut]) != self._pair_pieces:
            raise _RefusedError
        if is_demonstration and (last_gap[last_cut:], *pieces[3 + num_own :]) != self._next_pieces:
            raise _RefusedError
        right = _with_sentinels(self._next_pieces) if is_demonstration else ""
        if roles[0] == "system":
            # A leading system turn would take the place of the header's default one, so a pair
            # stays in front.
            before = tuple(_sentinels(_PAIR))
            left = _with_sentinels(self._pair_pieces)
        else:
            before, left = (), self.header
            alone = self._split(roles + after)
            if alone[: num_own + 1] != [self.header + own[0], *own[1:-1], last_gap]:
                raise _RefusedError
        return _Scaffold(roles, own, before, tuple(_sentinels(after)), left, right)

    def _interleave(
        self, roles: Sequence[str], pieces: Sequence[str], texts: Sequence[str]
    ) -> list[TextSegment]:
        segments = [TextSegment(pieces[0])]
        for role, text, piece in zip(roles, texts, pieces[1:], strict=True):
            is_answer = role == "assistant"
            segments.append(TextSegment(text, is_data=True, is_answer=is_answer))
            end_token = self._special_pattern.match(piece) if is_answer else None
            if end_token:
                segments.append(TextSegment(end_token.group(), is_answer=True))
                piece = piece[end_token.end() :]
            segments.append(TextSegment(piece))
        return segments

    def _rewritten(
        self, scaffold: _Scaffold, turns: Sequence[Turn]
    ) -> tuple[Sequence[str], list[str]]:
        """Pieces and texts where the template changes a text (JSON around a tool's, a think block
        moved).

        Each turn is rendered for real among sentinels: what differs from the rendering on sentinels
        alone is that turn's text. Where two turns change each other's text, the texts stand as they
        are.
        """
        marked = _sentinels(scaffold.roles)
        plain = (scaffold.pieces, [text for _, text in turns])
        base = self._render([*scaffold.before, *marked, *scaffold.after]) or ""
        pieces: list[str] = []
        texts: list[str] = []
        position = len(scaffold.left)
        for index, turn in enumerate(turns):
            one = [*marked[:index], turn, *marked[index + 1 :]]
            rendered = self._render([*scaffold.before, *one, *scaffold.after])
            if rendered is None:
                return plain
            start = len(commonprefix((base, rendered)))
            num_same = len(commonprefix((base[start:][::-1], rendered[start:][::-1])))
            stop = len(base) - num_same
            if start < position or _SENTINEL.findall(base, position, stop) != [str(index)]:
                return plain
            text = rendered[start : len(rendered) - num_same]
            find_specials = self._special_pattern.findall
            if len(find_specials(text)) > len(find_specials(turn[1])):
                return plain  # it reaches into the template's own text, whose tokens are special
            pieces.append(base[position:start])
            texts.append(text)
            position = stop
        end = len(base) - len(scaffold.right)
        return plain if position > end else ([*pieces, base[position:end]], texts)


def _sentinels(roles: Sequence[str]) -> list[Turn]:
    """Turns whose texts, of characters that no text may hold, are found again in the rendering."""
    return [(role, f"\ufdd0{index}\ufdd1") for index, role in enumerate(roles)]


def _fill(pieces: Sequence[str], texts: Sequence[str]) -> str:
    """N + 1 pieces with N texts between them."""
    return pieces[0] + "".join(t + p for t, p in zip(texts, pieces[1:], strict=True))


def _with_sentinels(pieces: Sequence[str]) -> str:
    return _fill(pieces, [text for _, text in _sentinels(pieces[1:])])


def _unstable() -> UserError:
    return UserError(
        "prompt.template=chat: this tokenizer's chat template drops a turn, refuses a plain "
        "conversation or renders an example differently next to another, so no demonstration can "
        "stand in front of an anchor: set prompt=alpaca"
    )
