"""An answer, what it is asked by, and all that decides it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from nuggets_ray.config.evaluate import GenerateConfig
from nuggets_ray.records import Message


@dataclass(frozen=True, slots=True)
class Answer:
    """`is_cut`: it reached generate.max_tokens (or the context's end) before it ended."""

    text: str
    num_tokens: int
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """A conversation to answer, and how warmly: at temperature 0 greedily."""

    messages: tuple[Message, ...]
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """Token ids (T,) to answer, the temperature, and the seed that sampling takes for it."""

    token_ids: np.ndarray
    temperature: float
    seed: int


class Generator(Protocol):
    """One loaded model."""

    def __call__(self, requests: Sequence[AnswerRequest]) -> list[Answer]: ...


Loaded = tuple[Generator, int | None]
"""A generator, and the most tokens that a prompt and its answer may have together (None: any)."""


def answer_text(decoded: str, is_cut: bool) -> str:
    """The text of an answer. One that was cut may end amid a character, which one backend writes as
    U+FFFD and another leaves out: it is left out.
    """
    return decoded.rstrip("\ufffd").strip() if is_cut else decoded.strip()


def generation_settings(generate: GenerateConfig, dtype: str, seed: int) -> dict[str, Any]:
    """What decides the answers beside model and prompt, as results.json tells it: greedy unless
    generate.temperature says otherwise.
    """
    given = {**asdict(generate), "dtype": dtype, "seed": seed}
    return {**given, "temperature": generate.temperature or 0.0}


def request_key(weights: str, template: str, given: Mapping[str, Any], asked: Asked) -> str:
    """SHA-256 (16 bytes, hex) of all that decides an answer: equal keys share one answer."""
    turns = [[turn.role, turn.text.strip(), turn.input.strip()] for turn in asked.messages]
    given = {**given, "temperature": asked.temperature}
    text = json.dumps([weights, template, given, turns], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def seed_of(key: str) -> int:
    """The sampling seed of a request, the same in every run."""
    return int(key[:8], 16) & 0x7FFFFFFF
