"""Example -> token ids with the exact answer mask, as a demonstration or as an anchor.

One pass is `demonstration(candidate) + anchor(example)` (one-shot) or `zero_shot_prefix +
anchor(example)` (zero-shot), joined as token ids; the anchor's ids are the same in both. `official`
reproduces the published script id for id, with its faults (score/METHOD.md); `alpaca` and `chat`
have the same header on both sides.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from nuggets_ray.config.schema import PromptConfig
from nuggets_ray.errors import UserError
from nuggets_ray.prompts.templates import Rendering, Template, alpaca, chat, official
from nuggets_ray.prompts.token_mask import copy_backend
from nuggets_ray.records import Encoding, Example, Message

logger = logging.getLogger(__name__)

PROMPT_VERSION = 1
"""Raise it with any change to the ids: scores made with another version do not compare."""


class Prompt:
    """Renders examples under the config's limits. Pickled, it is made anew from its tokenizer."""

    def __init__(self, name: str, template: Template, tokenizer: Any, config: PromptConfig) -> None:
        self.name = name
        self.zero_shot_prefix = template.zero_shot_prefix
        self.notes = template.notes
        self.fingerprint = _fingerprint(name, template, tokenizer, config)
        self._template = template
        self._tokenizer = tokenizer
        self._config = config

    def __reduce__(self) -> tuple[Any, ...]:
        return make_prompt, (self._tokenizer, self._config)

    def demonstration(self, example: Example, max_tokens: int | None = None) -> Encoding:
        """The whole prefix of the one-shot pass, which an anchor's ids follow directly.

        `max_tokens` (default: prompt.max_demonstration_tokens) bounds it, header included. Whole
        turns are cut from the end as long as one answer is left, then the answer's last tokens, its
        end of turn being kept.
        """
        limit = self._config.max_demonstration_tokens if max_tokens is None else max_tokens
        return _fit(self._template.demonstration, answered(example), limit)

    @cached_property
    def unasked_ids(self) -> np.ndarray:
        """The ids that stand before the answer in a demonstration that asks nothing: header, an
        empty question, and what introduces an answer.
        """
        unasked = Example((Message("user", ""), Message("assistant", "x")))
        shown = self._template.demonstration(unasked)
        return shown.token_ids[: int(np.argmax(shown.answer_mask))]

    def anchor(self, example: Example) -> Encoding:
        """The ids that follow either prefix, cut to prompt.max_anchor_tokens.

        An answer wholly past the cut has no answer tokens. A cut answer gets no end of turn: it did
        not end there.
        """
        limit = self._config.max_anchor_tokens
        cut_turns = self.name != "official"
        return _fit(self._template.anchor, answered(example), limit, cut_turns)

    def alone(self, example: Example) -> Encoding:
        """The ids of a row by itself, as a model is trained on it and served with it.

        In a chat template it is what `apply_chat_template` renders: a system turn of its own takes
        the place of the template's default one. Cut as an anchor is, behind as long a header.
        """
        limit = self._config.max_anchor_tokens
        if limit is not None:
            limit += len(self.zero_shot_prefix)
        return _fit(self._template.alone, answered(example), limit, self.name != "official")

    def text(self, example: Example) -> str:
        """The anchor's rendering as text, uncut, for display."""
        return self._template.text(answered(example))


def make_prompt(tokenizer: Any, config: PromptConfig) -> Prompt:
    """The prompt of `config.template`; auto: chat if the tokenizer has a template, else alpaca."""
    name = config.template
    if name == "auto":
        name = "chat" if tokenizer.chat_template else "alpaca"
    if name not in TEMPLATES:
        raise UserError(f"prompt.template={name} is not one of auto, {', '.join(TEMPLATES)}")
    return Prompt(name, TEMPLATES[name](tokenizer), tokenizer, config)


def warn_of_template(prompt: Prompt) -> None:
    """WARN of what the template does to rows by itself."""
    for note in prompt.notes:
        logger.warning("prompt.template=%s: %s", prompt.name, note)


def reason_to_skip(
    demonstration: Encoding, on_too_long: str, too_long: str = "too_long"
) -> str | None:
    """Why a candidate is of no use as a demonstration, None where it is: cut at all under
    on_too_long=skip, or its whole answer cut off.
    """
    if on_too_long == "skip" and demonstration.num_dropped_tokens:
        return too_long
    return None if demonstration.num_answer_tokens else "no_answer_left"


def answered(example: Example) -> Example:
    """The conversation up to its last answer: a question that nobody answers shows nothing."""
    answers = [i for i, message in enumerate(example.messages) if message.is_answer]
    if not answers:
        raise ValueError("an example needs an assistant turn that trains")
    return _until(example, answers[-1] + 1)


def _until(example: Example, num_messages: int) -> Example:
    return replace(example, messages=example.messages[:num_messages])


def _fit(
    render: Callable[[Example], Rendering],
    example: Example,
    max_tokens: int | None,
    cut_turns: bool = True,
) -> Encoding:
    whole = render(example)
    if max_tokens is None or len(whole.token_ids) <= max_tokens:
        return Encoding(whole.token_ids, whole.answer_mask)
    kept = whole
    for shorter in _shorter(example, whole.answer_mask, max_tokens) if cut_turns else ():
        kept = render(shorter)
        if len(kept.token_ids) <= max_tokens:
            break
    else:
        kept = _cut_answer(kept, max_tokens)
    return Encoding(kept.token_ids, kept.answer_mask, len(whole.token_ids) - len(kept.token_ids))


def _shorter(example: Example, answer_mask: np.ndarray, max_tokens: int) -> Iterator[Example]:
    """The conversation without its last exchange, its last two, ... down to one answer."""
    stops = [i + 1 for i, message in enumerate(example.messages) if message.is_answer]
    answer_ends = np.flatnonzero(np.diff(answer_mask, append=False) & answer_mask) + 1
    if len(answer_ends) == len(stops):  # skip, without rendering them, those that cannot fit
        num_fitting = int((answer_ends[:-1] <= max_tokens).sum())
        stops = [*stops[: max(1, num_fitting)], stops[-1]] if len(stops) > 1 else stops
    for stop in reversed(stops[:-1]):
        yield _until(example, stop)


def _cut_answer(rendering: Rendering, max_tokens: int) -> Rendering:
    """The first `max_tokens` tokens, ending with the tail where that leaves something of the
    answer.
    """
    token_ids, answer_mask, tail_ids = (
        rendering.token_ids,
        rendering.answer_mask,
        rendering.tail_ids,
    )
    num_kept = max_tokens - len(tail_ids)
    if num_kept <= int(np.argmax(answer_mask)):
        num_kept, tail_ids = max_tokens, tail_ids[:0]
    return Rendering(
        np.concatenate([token_ids[:num_kept], tail_ids]),
        np.concatenate([answer_mask[:num_kept], np.zeros(len(tail_ids), dtype=bool)]),
        tail_ids,
    )


def _fingerprint(name: str, template: Template, tokenizer: Any, config: PromptConfig) -> str:
    parts = {
        "version": PROMPT_VERSION,
        "template": name,
        "source": template.source,
        "tokenizer": hashlib.sha256(copy_backend(tokenizer).to_str().encode()).hexdigest(),
        "max_demonstration_tokens": config.max_demonstration_tokens,
        "max_anchor_tokens": config.max_anchor_tokens,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


TEMPLATES: dict[str, Callable[[Any], Template]] = {
    "official": official,
    "alpaca": alpaca,
    "chat": chat,
}
