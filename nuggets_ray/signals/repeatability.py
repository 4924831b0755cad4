"""How repeatable a signal is that is made of anchors: the rank correlation of what two halves of
the anchors say, the mean over a few splits, carried to as many anchors as there are by
r_2 = 2 r / (1 + r) (Spearman 1910, Brown 1910). 1: another such set would order the rows alike.
"""

from collections.abc import Callable

import numpy as np

NUM_SPLITS = 4
MIN_ROWS = 10


def repeatability(
    values_of: Callable[[np.ndarray], np.ndarray], num_anchors: int, seed: int
) -> float | None:
    """`values_of(anchors)`: the signal of every row from these anchors (indices), (N,). None where
    there are fewer than 10 rows or 4 anchors, or rows that do not differ."""
    if num_anchors < 4:
        return None
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(NUM_SPLITS):
        order = rng.permutation(num_anchors)
        half = num_anchors // 2
        correlation = _rank_correlation(values_of(order[:half]), values_of(order[half : 2 * half]))
        if correlation is None:
            return None
        found.append(correlation)
    return spearman_brown(float(np.mean(found)), 2)


def spearman_brown(correlation: float, ratio: float) -> float:
    """The correlation of scores on `ratio` times as many anchors, k r / (1 + (k - 1) r) (Spearman
    1910, Brown 1910): exact for linear correlations, for those of ranks close; 0 for a negative
    one."""
    correlation = max(correlation, 0.0)
    return ratio * correlation / (1 + (ratio - 1) * correlation)


def _rank_correlation(first_N: np.ndarray, second_N: np.ndarray) -> float | None:
    from scipy.stats import rankdata

    is_known_N = ~(np.isnan(first_N) | np.isnan(second_N))
    ranks = [rankdata(values[is_known_N]) for values in (first_N, second_N)]
    if is_known_N.sum() < MIN_ROWS or any(np.ptp(rank_N) == 0 for rank_N in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])
