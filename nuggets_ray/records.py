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
class ToolCall:
    """A call that the model writes. `arguments` is JSON text (an object), or the text that the row
    holds where that is no JSON.
    """

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    `input` is Alpaca's optional context of an instruction (user turns only). `reasoning` and
    `tool_calls` are written by the model before and after `text` (assistant turns only). An
    assistant turn with `trains` False is context: no answer, in scoring and in training.
    """

    role: str
    text: str
    input: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    trains: bool = True

    @property
    def content(self) -> str:
        """The whole text of the turn, without the white space around it: the instruction, and its
        input below it when there is one. An answer keeps the spaces and tabs before its first word.
        """
        if self.role == "assistant":
            return without_blank_edges(self.text)
        parts = (self.text.strip(), self.input.strip())
        return "\n".join(part for part in parts if part)

    @property
    def is_answer(self) -> bool:
        """The tokens of this turn count in scoring and carry the loss in training."""
        return self.role == "assistant" and self.trains


@dataclass(frozen=True, slots=True)
class Example:
    """One instruction example: a whole conversation, of which every assistant turn that trains is
    answer. `tools`: the functions that the model may call, each as JSON text.
    """

    messages: tuple[Message, ...]
    tools: tuple[str, ...] = ()

    @property
    def content_id(self) -> str:
        """SHA-256 (16 bytes, hex) of the canonical messages (role, content, and what else carries
        meaning where a row has it): equal in every file format.
        """
        canonical: list[object] = [_canonical(message) for message in self.messages]
        if self.tools:
            canonical.append({"tools": self.tools})
        text = json.dumps(canonical, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]


def without_blank_edges(text: str) -> str:
    """The text without its trailing white space and its leading blank lines: what indents the first
    line (spaces and tabs) is part of code and stays.
    """
    stripped = text.strip()
    before = text[: len(text) - len(text.lstrip())] if stripped else ""
    return before[len(before.rstrip(" \t")) :] + stripped


def _canonical(message: Message) -> list[object]:
    more: dict[str, object] = {}
    if message.reasoning:
        more["reasoning"] = message.reasoning
    if message.tool_calls:
        more["tool_calls"] = [[call.name, call.arguments] for call in message.tool_calls]
    if message.role == "assistant" and not message.trains:
        more["trains"] = False
    return [message.role, message.content, *([more] if more else [])]


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
    """One example of the predefined task set, as written to anchors.parquet.

    `rounding_noise`: how far the run's dtype moves a delta on it, standard deviation in nats; None
    where that was not measured.
    """

    anchor_id: str
    content_id: str
    anchor_set: str
    text: str
    encoding: Encoding
    rounding_noise: float | None = None


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One scored candidate, as written to scores/ (A anchors).

    `one_shot_logprob` has shape (A,) float32, in nats per answer token, NaN only where not
    evaluated. `num_near_ties` counts the anchors whose |delta| is within their noise band.
    `golden_score` is None unless `status` is "complete"; a race leaves others "eliminated",
    schedule=explore leaves them "explored". `score_low` and `score_high` bound it with 95%
    confidence.
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


@dataclass(frozen=True, slots=True)
class SignalRow:
    """What one scored candidate told beside its score, as written to signals/ (A anchors).

    None: not asked. NaN: asked, and no number came of it. `answer_logprob` and `alone_logprob` are
    those of its own answer, after its own prompt and after one that asks nothing, in nats per
    answer token; the other columns follow from them (nuggets_ray/signals). `rds_cosine` has shape
    (A,) float32, NaN for the row itself as an anchor.
    """

    content_id: str
    answer_logprob: float | None = None
    alone_logprob: float | None = None
    perplexity: float | None = None
    ifd: float | None = None
    ifd_perplexity: float | None = None
    is_ifd_above_1: bool | None = None
    rds: float | None = None
    rds_cosine: np.ndarray | None = None
