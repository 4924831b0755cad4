"""The core loop: render a candidate as a demonstration, take the one-shot log-probs, count the wins
over zero-shot.

A fault of one candidate is a record, never a loss and never a made-up score: it comes back as
`Unscored` with its reason, the others are scored.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nuggets_ray.errors import UserError
from nuggets_ray.prompts.prompt import Prompt, reason_to_skip
from nuggets_ray.records import Anchor, Encoding, Example, ScoreRow
from nuggets_ray.score.contract import ScoringEngine
from nuggets_ray.score.golden import golden_score

logger = logging.getLogger(__name__)

CANDIDATES_A_CALL = {"cpu": 1, "cuda": 64}
"""How many candidates the engine gets at once: on a CPU one fills a pack, and progress is finer; a
GPU is waited for at the end of a call only."""


@dataclass(frozen=True, slots=True)
class ZeroShot:
    """The anchors (A of them) and their zero-shot log-probs, shape (A,), in nats per answer token;
    and the |delta| up to which a decision is a near tie, in the same unit.
    """

    anchors: tuple[Anchor, ...]
    zero_shot_A: np.ndarray
    noise_band_nats: float = 0.0

    @property
    def num_tokens(self) -> int:
        """Real tokens of all anchors, those that one candidate is scored on."""
        return sum(anchor.encoding.num_tokens for anchor in self.anchors)

    @property
    def max_tokens(self) -> int:
        return max(anchor.encoding.num_tokens for anchor in self.anchors)


@dataclass(frozen=True, slots=True)
class Unscored:
    """A candidate that has no score, and why (a reason of skipped.parquet)."""

    content_id: str
    reason: str


def check_finite(anchors: Sequence[Anchor], zero_shot_A: np.ndarray, dtype: str) -> None:
    """Raise UserError for an anchor whose zero-shot log-prob is not finite."""
    for anchor, log_prob in zip(anchors, zero_shot_A, strict=True):
        if not np.isfinite(log_prob):
            raise UserError(
                f"anchor {anchor.anchor_id} ({anchor.text[:60]!r}) has a zero-shot log-prob of "
                f"{log_prob} in {dtype}: try score.dtype=float32, or remove it from the anchors"
            )


def render(
    prompt: Prompt, candidates: Sequence[tuple[str, Example]], max_demonstration_tokens: int
) -> list[Encoding]:
    """Each (content_id, example) pair as a demonstration of at most so many tokens."""
    return [prompt.demonstration(example, max_demonstration_tokens) for _, example in candidates]


def score_candidates(
    engine: ScoringEngine,
    prompt: Prompt,
    baseline: ZeroShot,
    candidates: Sequence[tuple[str, Example]],
    demonstrations: Sequence[Encoding],
    on_too_long: str,
) -> list[ScoreRow | Unscored]:
    """Score (content_id, example) pairs with their `render`ed demonstrations against every anchor;
    one result each, in order (METHOD.md defines the golden score).

    A demonstration that was cut is Unscored under on_too_long="skip", and so is one whose answer
    was wholly cut.
    """
    unfit = [reason_to_skip(demo, on_too_long, "too_long_for_context") for demo in demonstrations]
    prefixes = [demo.token_ids for demo, why in zip(demonstrations, unfit, strict=True) if not why]
    log_probs = iter(log_probs_or_reasons(engine, prefixes))
    results: list[ScoreRow | Unscored] = []
    for (content_id, _), demonstration, why in zip(candidates, demonstrations, unfit, strict=True):
        one_shot_A = why or next(log_probs)
        # the official script scores an anchor against itself too; every other prompt leaves the
        # self-pair out
        is_official = prompt.name == "official"
        self_index = None if is_official else _self_anchor_index(baseline, content_id)
        if isinstance(one_shot_A, str):
            results.append(Unscored(content_id, one_shot_A))
        elif not np.isfinite(one_shot_A).all():
            results.append(Unscored(content_id, "non_finite_score"))
        elif self_index is not None and len(baseline.anchors) == 1:
            results.append(Unscored(content_id, "no_other_anchor"))
        else:
            results.append(_score_row(content_id, demonstration, one_shot_A, baseline, self_index))
    return results


def log_probs_or_reasons(
    engine: ScoringEngine, prefixes: Sequence[np.ndarray]
) -> list[np.ndarray | str]:
    """One-shot log-probs (A,) of each prefix, or the reason why there are none."""
    if not prefixes:
        return []
    try:
        return list(engine.log_probs(prefixes))
    except torch.AcceleratorError:
        raise  # the device is lost to this process, and with it every further candidate
    except (RuntimeError, ValueError) as error:
        if len(prefixes) == 1:
            logger.warning("a candidate cannot be scored", exc_info=True)
            first_line = str(error).strip().partition("\n")[0]
            return [f"error: {type(error).__name__}: {first_line[:200]}"]
    return [result for prefix in prefixes for result in log_probs_or_reasons(engine, [prefix])]


def _self_anchor_index(baseline: ZeroShot, content_id: str) -> int | None:
    return next(
        (i for i, anchor in enumerate(baseline.anchors) if anchor.content_id == content_id), None
    )


def _score_row(
    content_id: str,
    demonstration: Encoding,
    one_shot_A: np.ndarray,
    baseline: ZeroShot,
    self_index: int | None,
) -> ScoreRow:
    score = golden_score(one_shot_A, baseline.zero_shot_A, self_index, baseline.noise_band_nats)
    return ScoreRow(
        example_id=content_id,
        content_id=content_id,
        golden_score=score.golden_score,
        num_wins=score.num_wins,
        num_anchors=score.num_anchors,
        mean_delta=score.mean_delta,
        num_near_ties=score.num_near_ties,
        score_low=score.score_low,
        score_high=score.score_high,
        status="complete",
        num_prompt_tokens=demonstration.num_tokens - demonstration.num_answer_tokens,
        num_answer_tokens=demonstration.num_answer_tokens,
        num_dropped_tokens=demonstration.num_dropped_tokens,
        self_anchor_index=self_index,
        one_shot_logprob=one_shot_A.astype(np.float32),
    )
