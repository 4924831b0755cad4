"""The frozen records that flow between the parts, and the columns of the files they are written to.

An `Example` is one row of instruction data, whatever its file format; an `Encoding` is an example
(or a part of one) as token ids with the exact answer mask; an `Anchor` and a `ScoreRow` are rows of
anchors.parquet and scores/. Nothing here imports anything but numpy.
"""

import hashlib
import json
from dataclasses import dataclass

import numpy as np

ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. `input` is Alpaca's optional context of an instruction (user
    turns only).
    """

    role: str
    text: str
    input: str = ""

    @property
    def content(self) -> str:
        """The whole text of the turn, stripped: the instruction, and its input below it when there
        is one.
        """
        parts = (self.text.strip(), self.input.strip())
        return "\n".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Example:
    """One instruction example: a whole conversation, of which every assistant turn is answer."""

    messages: tuple[Message, ...]

    @property
    def content_id(self) -> str:
        """SHA-256 (16 bytes, hex) of the canonical messages (role, stripped text): equal in every
        file format.
        """
        canonical = [[message.role, message.content] for message in self.messages]
        text = json.dumps(canonical, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Encoding:
    """Token ids of shape (T,) int64 and the answer mask of shape (T,) bool.

    `answer_mask[t]` says that token t belongs to an answer, so its log-prob (predicted at t - 1)
    counts. `num_dropped_tokens` is how many tokens of the whole example were cut to fit the limit
    (0: nothing was cut).
    """

    token_ids: np.ndarray
    answer_mask: np.ndarray
    num_dropped_tokens: int = 0

    @property
    def num_tokens(self) -> int:
        return len(self.token_ids)

    @property
    def num_answer_tokens(self) -> int:
        return int(self.answer_mask.sum())


@dataclass(frozen=True, slots=True)
class Anchor:
    """One example of the predefined task set, as written to anchors.parquet."""

    anchor_id: str
    content_id: str
    anchor_set: str
    text: str
    encoding: Encoding


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One scored candidate, as written to scores/ (A anchors).

    `one_shot_logprob` has shape (A,) float32, in nats per answer token, NaN only where not
    evaluated. `num_near_ties` counts the anchors whose |delta| is within the dtype's noise band.
    `golden_score` is None unless `status` is "complete". `score_low` and `score_high`
    bound it with 95% confidence.
    """

    example_id: str
    content_id: str
    golden_score: float | None
    num_wins: int
    num_anchors: int
    mean_delta: float
    num_near_ties: int
    score_low: float
    score_high: float
    status: str
    num_prompt_tokens: int
    num_answer_tokens: int
    num_dropped_tokens: int
    self_anchor_index: int | None
    one_shot_logprob: np.ndarray
