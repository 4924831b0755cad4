"""The golden score: in how many anchors does the demonstration help?

    GS(k) = num_wins / num_anchors,   wins: anchors with one-shot > zero-shot log-prob, strictly
(arXiv 2312.10302). numpy only.

Legend: A anchors.
"""

import math
from dataclasses import dataclass

import numpy as np

Z_95 = 1.959963984540054
NOISE_BAND_NATS = {"bfloat16": 0.054, "float32": 1e-4}
"""By dtype, the |delta| up to which rounding can turn a decision, in nats per answer token, where
the anchors' own noise was not measured (rounding.py).

bfloat16: the 99th percentile of |error of a delta| against float32 (demo model, 60 candidates x 16
anchors with answers of 20 tokens, bench=dtypes): 3.4% of all decisions differ, a third of those
below 0.02 nats, one in 774 above 0.05. float32: what other packs and batches may change.
"""


@dataclass(frozen=True, slots=True)
class GoldenScore:
    """num_wins of num_anchors, their ratio with its 95% Wilson interval, the mean delta in nats per
    answer token, and on how many anchors |delta| is within the noise band."""

    golden_score: float
    num_wins: int
    num_anchors: int
    mean_delta: float
    num_near_ties: int
    score_low: float
    score_high: float


def golden_score(
    one_shot_A: np.ndarray,
    zero_shot_A: np.ndarray,
    self_anchor_index: int | None,
    noise_band_nats: np.ndarray | float = 0.0,
) -> GoldenScore:
    """Compare the log-probs of one candidate with the baseline, both of shape (A,) in nats per
    answer token.

    A tie is no win. The candidate itself, at `self_anchor_index`, is left out of every number.
    `noise_band_nats` is of each anchor (A,), or one for all.
    Raises ValueError for a log-prob that is not finite and when no anchor is left.
    """
    if one_shot_A.shape != zero_shot_A.shape or one_shot_A.ndim != 1:
        raise ValueError(
            f"log-probs of shapes {one_shot_A.shape} and {zero_shot_A.shape} cannot be compared"
        )
    counted_A = np.ones(len(one_shot_A), dtype=bool)
    if self_anchor_index is not None:
        counted_A[self_anchor_index] = False
    one_shot, zero_shot = (
        one_shot_A[counted_A].astype(np.float64),
        zero_shot_A[counted_A].astype(np.float64),
    )
    num_anchors = len(one_shot)
    if not num_anchors:
        raise ValueError("no anchor is left to score against")
    if not (np.isfinite(one_shot).all() and np.isfinite(zero_shot).all()):
        raise ValueError("a log-prob is not finite")
    delta = one_shot - zero_shot
    band_A = np.broadcast_to(noise_band_nats, zero_shot_A.shape)
    num_wins = int((delta > 0).sum())
    low, high = wilson_interval(num_wins, num_anchors)
    return GoldenScore(
        golden_score=num_wins / num_anchors,
        num_wins=num_wins,
        num_anchors=num_anchors,
        mean_delta=float(delta.mean()),
        num_near_ties=int((np.abs(delta) <= band_A[counted_A]).sum()),
        score_low=low,
        score_high=high,
    )


def wilson_interval(num_wins: float, num_anchors: float) -> tuple[float, float]:
    """The 95% Wilson score interval of a share: within [0, 1], sensible at 0 and at 1 too."""
    share, z2 = num_wins / num_anchors, Z_95**2
    centre = (share + z2 / (2 * num_anchors)) / (1 + z2 / num_anchors)
    spread = math.sqrt(share * (1 - share) / num_anchors + z2 / (4 * num_anchors**2))
    half = Z_95 * spread / (1 + z2 / num_anchors)
    # exact at the ends, where rounding would put the bound past the share itself
    low = 0.0 if num_wins == 0 else centre - half
    high = 1.0 if num_wins == num_anchors else centre + half
    return low, high
