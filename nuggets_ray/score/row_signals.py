"""The signals of rows, taken down as their demonstrations pass to the anchors (nuggets_ray/signals
says what each is).

perplexity and rds come of that pass; ifd takes one more, short one, over the answers alone.

Legend: D demonstrations, A anchors, E hidden size.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nuggets_ray.prompts.prompt import Prompt
from nuggets_ray.records import Anchor, Encoding, SignalRow
from nuggets_ray.score.contract import ScoringEngine
from nuggets_ray.score.own import Own
from nuggets_ray.signals.ifd import answers_alone, ifd, ifd_perplexity, joined, misfits
from nuggets_ray.signals.names import NEEDS_STATES
from nuggets_ray.signals.perplexity import perplexity
from nuggets_ray.signals.rds import cosines, nearest

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Passed:
    """What came of one demonstration's pass: one-shot log-probs (A,), and where that was asked the
    log-prob of its own answer, and its state (E,)."""

    one_shot_A: np.ndarray
    answer_logprob: float = float("nan")
    state_E: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class _Taken:
    content_id: str
    demonstration: Encoding
    answer_logprob: float
    state_E: np.ndarray | None


class RowSignals:
    """Those of `asked` (perplexity, ifd, rds) of one row after another, until `take` gives them."""

    def __init__(
        self, engine: ScoringEngine, prompt: Prompt, anchors: Sequence[Anchor], asked: Sequence[str]
    ) -> None:
        self.asked = tuple(asked)
        self._engine, self._prompt, self._anchors = engine, prompt, anchors
        self._anchor_AE: np.ndarray | None = None
        self._taken: list[_Taken] = []

    @property
    def with_states(self) -> bool:
        """Whether one of them is made of hidden states."""
        return any(name in NEEDS_STATES for name in self.asked)

    def passed(self, demonstrations: Sequence[Encoding]) -> list[Passed]:
        """Put demonstrations through the engine to its anchors."""
        one_shot_DA, own = self._engine.log_probs_and_own(demonstrations, self.with_states)
        return [
            Passed(one_shot_A, float(own.answer_logprob_D[d]), _state(own, d))
            for d, one_shot_A in enumerate(one_shot_DA)
        ]

    def add(self, content_id: str, demonstration: Encoding, passed: Passed) -> None:
        """Count in a row that has its log-probs."""
        row = _Taken(content_id, demonstration, passed.answer_logprob, passed.state_E)
        self._taken.append(row)

    def read(self, content_ids: Sequence[str], demonstrations: Sequence[Encoding]) -> None:
        """Count in rows without the anchors: their scores are there already."""
        told = self._own(demonstrations, self.with_states)
        for content_id, shown, own in zip(content_ids, demonstrations, told, strict=True):
            self._taken.append(_Taken(content_id, shown, *own))

    def take(self) -> list[SignalRow]:
        """The signals of the rows since the last call."""
        taken, self._taken = self._taken, []
        if not taken:
            return []
        answer_D = np.array([row.answer_logprob for row in taken])
        num_D = [row.demonstration.num_answer_tokens for row in taken]
        answer_D = np.where(np.array(num_D) > 0, answer_D, np.nan)
        alone_D = self._alone(taken) if "ifd" in self.asked else None
        cosine_DA = self._cosines(taken) if "rds" in self.asked else None
        return [_row(taken[d], d, answer_D, alone_D, cosine_DA) for d in range(len(taken))]

    def _alone(self, taken: Sequence[_Taken]) -> np.ndarray:
        """Mean log-probs of each row's answers alone, (D,)."""
        unasked_ids = self._prompt.unasked_ids
        of_rows = [answers_alone(row.demonstration, unasked_ids) for row in taken]
        told = self._own([answer for answers in of_rows for answer in answers], False)
        log_probs = (log_prob for log_prob, _ in told)
        return np.array(
            [
                joined([next(log_probs) for _ in answers], [a.num_answer_tokens for a in answers])
                for answers in of_rows
            ]
        )

    def _cosines(self, taken: Sequence[_Taken]) -> np.ndarray:
        """(D, A) float32, NaN where a row is the anchor."""
        if self._anchor_AE is None:
            self._anchor_AE = self._anchor_states()
        nowhere_E = np.full(self._anchor_AE.shape[1], np.nan, np.float32)
        states = [nowhere_E if row.state_E is None else row.state_E for row in taken]
        cosine_DA = cosines(np.array(states), self._anchor_AE)
        content_ids = np.array([row.content_id for row in taken])
        anchor_ids = np.array([anchor.content_id for anchor in self._anchors])
        cosine_DA[content_ids[:, None] == anchor_ids] = np.nan
        return cosine_DA

    def _anchor_states(self) -> np.ndarray:
        """(A, E): of the anchors as their zero-shot pass sees them, header included."""
        header = self._prompt.zero_shot_prefix
        wholes = [
            Encoding(
                np.concatenate([header, anchor.encoding.token_ids]),
                np.concatenate([np.zeros(len(header), bool), anchor.encoding.answer_mask]),
            )
            for anchor in self._anchors
        ]
        own = self._engine.own(wholes, with_states=True)
        assert own.state_DE is not None
        return own.state_DE

    def _own(
        self, sequences: Sequence[Encoding], with_states: bool
    ) -> list[tuple[float, np.ndarray | None]]:
        """What each tells of itself: NaN and None of one that cannot be computed."""
        if not sequences:
            return []
        try:
            own = self._engine.own(sequences, with_states)
        except torch.AcceleratorError:
            raise  # the device is lost to this process
        except (RuntimeError, ValueError):
            if len(sequences) == 1:
                logger.warning("a signal of a row cannot be computed", exc_info=True)
                return [(float("nan"), None)]
            return [told for one in sequences for told in self._own([one], with_states)]
        return [(float(own.answer_logprob_D[d]), _state(own, d)) for d in range(len(sequences))]


def _state(own: Own, index: int) -> np.ndarray | None:
    return None if own.state_DE is None else own.state_DE[index]


def _row(
    taken: _Taken,
    index: int,
    answer_D: np.ndarray,
    alone_D: np.ndarray | None,
    cosine_DA: np.ndarray | None,
) -> SignalRow:
    answer = answer_D[index]
    values: dict[str, float | bool | np.ndarray] = {"answer_logprob": float(answer)}
    values["perplexity"] = float(perplexity(answer))
    if alone_D is not None:
        alone = alone_D[index]
        ratio = ifd(answer, alone)
        values |= {"alone_logprob": float(alone), "ifd": float(ratio)}
        values["ifd_perplexity"] = float(ifd_perplexity(answer, alone))
        values["is_ifd_above_1"] = bool(misfits(ratio))
    if cosine_DA is not None:
        values["rds"] = float(nearest(cosine_DA[index : index + 1])[0])
        values["rds_cosine"] = cosine_DA[index]
    return SignalRow(taken.content_id, **values)  # type: ignore[arg-type]
