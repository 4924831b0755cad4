"""Signs that the method fails, read off the scores: unstable across anchors, explained by length.

    reliability = 2 r / (1 + r)   (Spearman-Brown),  r: rank correlation of scores on two halves
    AUC         = P(answer of a selected row is longer than one of the rest), ties half
Suffixes: N candidates, A anchors, S splits.
"""

from dataclasses import dataclass

import numpy as np

from nuggets_ray.signals.repeatability import spearman_brown

NUM_SPLITS = 50
BLOCK_ROWS = 8192
MIN_RELIABILITY = 0.7
"""Below it scores count as unstable: the usual least reliability of a test (Nunnally 1978)."""
MAX_LENGTH_AUC = 0.8
"""From here on (or from 0.2 down) length counts as an explanation: it orders four pairs of five."""
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class SplitHalf:
    """`rank_correlation` of golden scores between halves of the anchors, the mean over random
    splits, and from it the `reliability` of the score on all anchors, at least 0."""

    rank_correlation: float
    reliability: float
    num_candidates: int
    num_anchors: int
    num_splits: int

    @property
    def is_unstable(self) -> bool:
        return self.reliability < MIN_RELIABILITY


@dataclass(frozen=True, slots=True)
class LengthEffect:
    """The AUC of answer length for the selected against the rest with its two-sided Mann-Whitney p,
    and the rank correlation of golden score and answer length (None: no spread)."""

    auc: float
    p_value: float
    rank_correlation: float | None
    num_selected: int

    @property
    def explains(self) -> bool:
        return abs(self.auc - 0.5) >= MAX_LENGTH_AUC - 0.5 and self.p_value < ALPHA


def split_half(
    one_shot_NA: np.ndarray, zero_shot_A: np.ndarray, seed: int, num_splits: int = NUM_SPLITS
) -> SplitHalf | None:
    """How well golden scores on one half of the anchors agree with those on the other.

    Log-probs in nats per answer token; NaN where not evaluated, a self-pair for one, and left out.
    None for fewer than 2 anchors or 3 candidates, and where scores show no spread. Spearman-Brown
    is exact for linear correlations, for those of ranks close.
    """
    num_candidates, num_anchors = one_shot_NA.shape
    if num_anchors < 2 or num_candidates < 3:
        return None
    rng = np.random.default_rng(seed)
    order_SA = rng.permuted(np.tile(np.arange(num_anchors), (num_splits, 1)), axis=1)
    is_first_AS = (order_SA < num_anchors // 2).T
    first_NS = _half_scores(one_shot_NA, zero_shot_A, is_first_AS)
    second_NS = _half_scores(one_shot_NA, zero_shot_A, ~is_first_AS)
    correlation_S = [
        _rank_correlation(first, second)
        for first, second in zip(first_NS.T, second_NS.T, strict=True)
    ]
    correlations = [correlation for correlation in correlation_S if correlation is not None]
    if not correlations:
        return None
    mean = float(np.mean(correlations))
    reliability = spearman_brown(mean, 2)
    return SplitHalf(mean, reliability, num_candidates, num_anchors, len(correlations))


def _half_scores(
    one_shot_NA: np.ndarray, zero_shot_A: np.ndarray, is_in_AS: np.ndarray
) -> np.ndarray:
    """The golden score of each candidate on the anchors of each half: (N, S), NaN without any."""
    in_half = is_in_AS.astype(np.float32)
    blocks = []
    for start in range(0, len(one_shot_NA), BLOCK_ROWS):
        one_shot = one_shot_NA[start : start + BLOCK_ROWS]
        is_known = np.isfinite(one_shot) & np.isfinite(zero_shot_A)
        wins = (is_known & (one_shot > zero_shot_A)).astype(np.float32) @ in_half
        known = is_known.astype(np.float32) @ in_half
        blocks.append(np.divide(wins, known, out=np.full_like(wins, np.nan), where=known > 0))
    return np.concatenate(blocks)


def _without(lengths_N: np.ndarray, selected: np.ndarray) -> np.ndarray:
    """The lengths but for those of `selected`, each as often as it stands there."""
    lengths, counts = np.unique(np.concatenate([lengths_N, selected]), return_counts=True)
    chosen = np.bincount(np.searchsorted(lengths, selected), minlength=len(lengths))
    return np.repeat(lengths, np.maximum(counts - 2 * chosen, 0))


def _rank_correlation(first_N: np.ndarray, second_N: np.ndarray) -> float | None:
    """Spearman's rho over the rows where both are known; None for under 3, or without spread."""
    is_known = np.isfinite(first_N) & np.isfinite(second_N)
    first, second = first_N[is_known], second_N[is_known]
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    from scipy import stats

    return float(stats.spearmanr(first, second).statistic)


def length_effect(
    num_answer_tokens_N: np.ndarray, selected: np.ndarray, golden_score_N: np.ndarray
) -> LengthEffect | None:
    """How far answer length, in tokens, tells the selected rows from the rest; None where either is
    empty. `selected` holds the lengths of those of the N that were selected; `golden_score_N` may
    hold NaN."""
    rest = _without(num_answer_tokens_N, selected)
    if not len(selected) or not len(rest):
        return None
    from scipy import stats

    test = stats.mannwhitneyu(selected, rest, alternative="two-sided")
    return LengthEffect(
        auc=float(test.statistic) / (len(selected) * len(rest)),
        p_value=float(test.pvalue),
        rank_correlation=_rank_correlation(golden_score_N, num_answer_tokens_N),
        num_selected=len(selected),
    )
