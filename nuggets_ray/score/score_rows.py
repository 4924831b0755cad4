"""A row of scores/ from log-probs: complete, where every anchor was met, or eliminated by a race.

Legend: A anchors.
"""

import numpy as np

from nuggets_ray.records import ScoreRow
from nuggets_ray.score.golden import golden_score
from nuggets_ray.score.zero_shot import ZeroShot


def complete_row(
    content_id: str,
    num_tokens: tuple[int, int, int],
    one_shot_A: np.ndarray,
    baseline: ZeroShot,
    self_index: int | None,
) -> ScoreRow:
    """The golden score of a row on every anchor. `num_tokens` of its demonstration: prompt, answer,
    dropped. Raises ValueError for a log-prob that is not finite."""
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
        num_prompt_tokens=num_tokens[0],
        num_answer_tokens=num_tokens[1],
        num_dropped_tokens=num_tokens[2],
        self_anchor_index=self_index,
        one_shot_logprob=one_shot_A.astype(np.float32),
    )


def eliminated_row(
    content_id: str,
    num_tokens: tuple[int, int, int],
    one_shot_A: np.ndarray,
    baseline: ZeroShot,
    self_index: int | None,
    status: str = "eliminated",
) -> ScoreRow:
    """A row that a race left behind, or one that was explored: NaN in `one_shot_A` where it was not
    evaluated. No golden score; wins, mean delta and near ties are of the anchors met, which were
    not drawn at random, and the bounds are what the others could still make of it.
    """
    is_met_A = ~np.isnan(one_shot_A)
    if self_index is not None:
        is_met_A[self_index] = False
    delta = one_shot_A[is_met_A].astype(np.float64) - baseline.zero_shot_A[is_met_A]
    band_A = np.broadcast_to(baseline.noise_band_nats, one_shot_A.shape)
    num_counted = len(one_shot_A) - (self_index is not None)
    num_wins = int(np.count_nonzero(delta > 0))
    return ScoreRow(
        example_id=content_id,
        content_id=content_id,
        golden_score=None,
        num_wins=num_wins,
        num_anchors=len(delta),
        mean_delta=float(delta.mean()) if len(delta) else float("nan"),
        num_near_ties=int(np.count_nonzero(np.abs(delta) <= band_A[is_met_A])),
        score_low=num_wins / num_counted,
        score_high=(num_wins + num_counted - len(delta)) / num_counted,
        status=status,
        num_prompt_tokens=num_tokens[0],
        num_answer_tokens=num_tokens[1],
        num_dropped_tokens=num_tokens[2],
        self_anchor_index=self_index,
        one_shot_logprob=one_shot_A.astype(np.float32),
    )
