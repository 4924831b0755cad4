"""The three ways to put an example into text: official, alpaca and chat.

Each function of a tokenizer returns a `Template`: how to render a demonstration and an anchor as
token ids with the exact answer mask, and what stands in front of a zero-shot anchor. Limits are
applied in prompt.py.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nuggets_ray.errors import UserError
from nuggets_ray.prompts.chat_example import ChatExamples
from nuggets_ray.prompts.chat_refusal import names_of
from nuggets_ray.prompts.chat_renderer import FROZEN_DATE
from nuggets_ray.prompts.chat_template import ChatTemplate
from nuggets_ray.prompts.spelled import spell_out
from nuggets_ray.prompts.token_mask import SegmentTokenizer, TextSegment
from nuggets_ray.records import Example

_NO_IDS = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Rendering:
    """One example as token ids (T,) int64 with its answer mask (T,) bool, before any limit.

    `tail_ids` is what a demonstration cut inside its answer still ends with: an end of turn, or a
    separator.
    """

    token_ids: np.ndarray
    answer_mask: np.ndarray
    tail_ids: np.ndarray


@dataclass(frozen=True, slots=True)
class Template:
    """What the modes differ in. A demonstration's rendering holds the header, an anchor's not;
    `alone` is a row by itself, as a model is trained on it and served with it.
    """

    zero_shot_prefix: np.ndarray
    demonstration: Callable[[Example], Rendering]
    anchor: Callable[[Example], Rendering]
    alone: Callable[[Example], Rendering]
    text: Callable[[Example], str]
    source: str
    """What else changes the ids, beside this code and the vocabulary: a chat template's text."""
    notes: tuple[str, ...] = ()
    """What a user is to know of it, a sentence each."""


def official(tokenizer: Any) -> Template:
    """The published script's prompt, id for id (score/METHOD.md, 1 to 4 of what it does
    differently).

    The demonstration is one string with the tokenizer's default special tokens, no separator after
    it; the anchor is one string without them, its answer starting at the token count of its prompt
    tokenised alone. The zero-shot prefix is empty, so a BOS stands on the one-shot side only.
    Special-token text in the data becomes special tokens, as in the script. What the script does
    not know (system, tool and further turns) is rendered in the same style.
    """

    def num_tokens(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def render(example: Example, add_special_tokens: bool) -> Rendering:
        segments = _official_segments(example)
        encoded = tokenizer(
            "".join(segment.text for segment in segments),
            add_special_tokens=add_special_tokens,
            return_special_tokens_mask=True,
            verbose=False,
        )
        plain_mask = np.array(encoded["special_tokens_mask"], dtype=np.int64) == 0
        num_front, num_plain = int(np.argmax(plain_mask)), int(plain_mask.sum())
        answer_mask = np.zeros(len(plain_mask), dtype=bool)
        before = ""
        for segment in segments:
            if segment.is_answer:
                is_last = segment is segments[-1]
                stop = num_plain if is_last else num_tokens(before + segment.text)
                answer_mask[num_front + num_tokens(before) : num_front + stop] = True
            before += segment.text
        return Rendering(np.array(encoded["input_ids"], dtype=np.int64), answer_mask, _NO_IDS)

    def demonstration(example: Example) -> Rendering:
        return render(example, add_special_tokens=True)

    def anchor(example: Example) -> Rendering:
        return render(example, add_special_tokens=False)

    def text(example: Example) -> str:
        return "".join(segment.text for segment in _official_segments(example))

    return Template(_NO_IDS, demonstration, anchor, anchor, text, source="official")


def _official_segments(example: Example) -> list[TextSegment]:
    segments: list[TextSegment] = []
    is_behind_answer = False
    for message in spell_out(example):
        newline = "\n" if is_behind_answer else ""
        is_behind_answer = message.role == "assistant"
        text, context = message.text.strip(), message.input.strip()
        if message.role == "assistant":
            segments += [
                TextSegment(f"{newline}Response:\n"),
                TextSegment(text, True, is_answer=message.is_answer),
            ]
        elif message.role == "user":
            shown = f"Input:\n{context}\n" if context else ""
            segments.append(TextSegment(f"{newline}Instruction:\n{text}\n{shown}"))
        else:
            segments.append(TextSegment(f"{newline}{message.role.capitalize()}:\n{text}\n"))
    return segments


PREAMBLE = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
)
_PREAMBLE_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n"
)
SEPARATOR = "\n\n"
TRIMS_ANSWERS = (
    "this model's chat template strips answers, so what indents their first line (code) is lost, "
    "in scoring and in training: set prompt=alpaca to keep it"
)


def alpaca(tokenizer: Any) -> Template:
    """Stanford Alpaca's preamble and headings, a blank line after the demonstration.

    Both sides start with the special tokens that the tokenizer puts in front by default (BOS, or
    nothing). A system turn stands in front of the preamble, further turns under headings of their
    own, every assistant turn answer. No end-of-sequence token is rendered: it would say that the
    text ends where the anchor is to follow.
    """
    segment_tokenizer = SegmentTokenizer(tokenizer)
    header = segment_tokenizer.leading_special_ids()
    tail_ids, _ = segment_tokenizer.encode([TextSegment(SEPARATOR)])

    def anchor(example: Example) -> Rendering:
        token_ids, answer_mask = segment_tokenizer.encode(_alpaca_segments(example))
        return Rendering(token_ids, answer_mask, tail_ids)

    def demonstration(example: Example) -> Rendering:
        segments = [*_alpaca_segments(example), TextSegment(SEPARATOR)]
        return _with_header(header, *segment_tokenizer.encode(segments), tail_ids)

    def alone(example: Example) -> Rendering:
        rendering = anchor(example)
        return _with_header(header, rendering.token_ids, rendering.answer_mask, tail_ids)

    def text(example: Example) -> str:
        return "".join(segment.text for segment in _alpaca_segments(example))

    return Template(header, demonstration, anchor, alone, text, source="alpaca")


def _alpaca_segments(example: Example) -> list[TextSegment]:
    messages = spell_out(example)
    first_user = next((message for message in messages if message.role == "user"), None)
    has_input = first_user is not None and bool(first_user.input.strip())
    segments = []
    if messages[0].role == "system":
        segments.append(TextSegment(messages[0].content + SEPARATOR, is_data=True))
        messages = messages[1:]
    segments.append(TextSegment(_PREAMBLE_INPUT if has_input else PREAMBLE))
    for index, message in enumerate(messages):
        gap = SEPARATOR if index else ""
        if message.role == "assistant":
            segments.append(TextSegment(f"{gap}### Response:\n"))
            segments.append(TextSegment(message.content, True, is_answer=message.is_answer))
            continue
        heading = "Instruction" if message.role == "user" else message.role.capitalize()
        segments.append(TextSegment(f"{gap}### {heading}:\n"))
        segments.append(TextSegment(message.text.strip(), is_data=True))
        if message.input.strip():
            segments.append(TextSegment(f"{SEPARATOR}### Input:\n"))
            segments.append(TextSegment(message.input.strip(), is_data=True))
    return segments


def chat(tokenizer: Any) -> Template:
    """The tokenizer's own chat template (see chat_template.py for how it is taken apart).

    An end-of-turn token that the template puts straight after an answer is answer too, as in
    training, on both sides alike. Dates in templates are frozen at 26 July 2024. What a template
    leaves out of an earlier turn's text (Qwen3: its think block) is left out of a demonstration
    too; reasoning that a row holds beside the text is not.
    """
    if not tokenizer.chat_template:
        raise UserError(
            "prompt.template=chat, but this tokenizer has no chat template: "
            "set prompt=alpaca or prompt=auto"
        )
    segment_tokenizer = SegmentTokenizer(tokenizer)
    template = ChatTemplate(tokenizer, segment_tokenizer.special_pattern)
    examples = ChatExamples(template)
    header, _ = segment_tokenizer.encode([TextSegment(template.header)])

    def anchor(example: Example) -> Rendering:
        shown = examples.scored(example, is_demonstration=False)
        return Rendering(*segment_tokenizer.encode(shown.segments), _NO_IDS)

    def demonstration(example: Example) -> Rendering:
        shown = examples.scored(example, is_demonstration=True)
        tail_ids, _ = segment_tokenizer.encode(shown.segments[shown.tail_start :])
        return _with_header(header, *segment_tokenizer.encode(shown.segments), tail_ids)

    def alone(example: Example) -> Rendering:
        return Rendering(*segment_tokenizer.encode(examples.alone(example).segments), _NO_IDS)

    def text(example: Example) -> str:
        shown = examples.scored(example, is_demonstration=False)
        return "".join(segment.text for segment in shown.segments)

    source = [tokenizer.get_chat_template(), tokenizer.special_tokens_map, str(FROZEN_DATE)]
    notes = [TRIMS_ANSWERS] if template.trims_answers() else []
    if names := names_of(tokenizer):
        notes.append(f"of the tokenizer's chat templates ({', '.join(names)}) default is used")
    return Template(
        header, demonstration, anchor, alone, text, json.dumps(source, default=str), tuple(notes)
    )


def _with_header(
    header: np.ndarray, token_ids: np.ndarray, answer_mask: np.ndarray, tail_ids: np.ndarray
) -> Rendering:
    answer_mask = np.concatenate([np.zeros(len(header), dtype=bool), answer_mask])
    return Rendering(np.concatenate([header, token_ids]), answer_mask, tail_ids)
