"""Intervals and tests of paired rows: bootstrap, win rate, sign test, sign-flip test, Holm.

    value = sum_i w_i x_i / sum_i w_i,   w = 1: the mean over rows; w = tokens: the mean over tokens
Suffixes: N rows, B resamples, K draws. Seeded; numpy and scipy only;
scipy's statistics take half a second to import, so inside functions.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

Bounds = tuple[float, float]
NUM_RESAMPLES = 2000
NUM_FLIPS = 9999
EXACT_ROWS = 13
"""Up to here all sign flips are gone through: 2^13 are fewer than NUM_FLIPS."""
BLOCK_ENTRIES = 1 << 22
CONFIDENCE = 0.95
ROUNDING = 1e-12
"""Relative differences up to here are rounding of float64 sums, and count as none."""


@dataclass(frozen=True, slots=True)
class WinRate:
    """The share of rows won, ties half, with its 95% interval (None: too few rows, or all tied) and
    the two-sided p of the sign test, which leaves ties out."""

    value: float
    bounds: Bounds | None
    num_wins: int
    num_losses: int
    num_ties: int
    p_value: float

    @property
    def num_rows(self) -> int:
        return self.num_wins + self.num_losses + self.num_ties


def weighted_mean(value_N: np.ndarray, weight_N: np.ndarray | None = None) -> float:
    """sum(w x) / sum(w) over the rows. Raises ValueError without rows, for a value that is not
    finite, and for a weight that is not positive."""
    value_N, weight_N = _checked(value_N, weight_N)
    return float((weight_N * value_N).sum() / weight_N.sum())


def bootstrap_interval(
    value_N: np.ndarray,
    seed: int,
    weight_N: np.ndarray | None = None,
    strata_N: np.ndarray | None = None,
    num_resamples: int = NUM_RESAMPLES,
) -> Bounds | None:
    """The 95% percentile interval of the weighted mean: rows are drawn with replacement, together
    with their weights; with `strata_N` as many from each stratum as it has.

    None where resampling can show no spread: values all alike, or one row (in some stratum) only.
    Raises ValueError as `weighted_mean` does. Below some ten rows percentile intervals are too
    narrow: read the exact tests there.
    """
    value_N, weight_N = _checked(value_N, weight_N)
    strata_N = np.zeros(len(value_N), int) if strata_N is None else np.asarray(strata_N)
    groups = [np.flatnonzero(strata_N == stratum) for stratum in np.unique(strata_N)]
    if min(map(len, groups)) < 2 or np.ptp(value_N) == 0:
        return None
    rng = np.random.default_rng(seed)
    means = [
        (weight_N[rows] * value_N[rows]).sum(axis=1) / weight_N[rows].sum(axis=1)
        for rows in _resampled_rows(groups, num_resamples, rng)
    ]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def _checked(value_N: np.ndarray, weight_N: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    value_N = np.asarray(value_N, np.float64)
    weight_N = np.ones(len(value_N)) if weight_N is None else np.asarray(weight_N, np.float64)
    if value_N.ndim != 1 or value_N.shape != weight_N.shape or not len(value_N):
        raise ValueError(f"{value_N.shape} values with {weight_N.shape} weights have no mean")
    if not (np.isfinite(value_N).all() and np.isfinite(weight_N).all()):
        raise ValueError("a value is not finite")
    if (weight_N <= 0).any():
        raise ValueError("a weight is not positive")
    return value_N, weight_N


def _resampled_rows(
    groups: list[np.ndarray], num_resamples: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Row numbers of the resamples, in blocks of shape (B, N) of bounded size."""
    block = max(1, BLOCK_ENTRIES // sum(map(len, groups)))
    for start in range(0, num_resamples, block):
        size = min(block, num_resamples - start)
        drawn = [rows[rng.integers(len(rows), size=(size, len(rows)))] for rows in groups]
        yield np.concatenate(drawn, axis=1)


def outcomes(first_N: np.ndarray, second_N: np.ndarray) -> np.ndarray:
    """1 where the first value is higher, 0 where it is lower, 0.5 where they are equal: shape (N,).
    Raises ValueError for a value that is not finite, which would pass for a tie or a loss."""
    first_N, second_N = np.asarray(first_N, np.float64), np.asarray(second_N, np.float64)
    if not (np.isfinite(first_N).all() and np.isfinite(second_N).all()):
        raise ValueError("a value is not finite")
    return np.asarray((np.sign(first_N - second_N) + 1) / 2)


def win_rate(outcome_N: np.ndarray, seed: int) -> WinRate:
    """The win rate of outcomes as `outcomes` gives them.

    The interval is the bootstrap's; where every row is won, or lost, it is the exact one of
    Clopper and Pearson, because a resample cannot differ. Raises ValueError without rows.
    """
    value = weighted_mean(outcome_N)
    wins, losses = int((outcome_N == 1).sum()), int((outcome_N == 0).sum())
    bounds = bootstrap_interval(outcome_N, seed)
    if max(wins, losses) == len(outcome_N):
        from scipy import stats

        exact = stats.binomtest(wins, len(outcome_N)).proportion_ci(CONFIDENCE, method="exact")
        bounds = float(exact.low), float(exact.high)
    ties = len(outcome_N) - wins - losses
    return WinRate(value, bounds, wins, losses, ties, sign_test(wins, losses))


def sign_test(num_wins: int, num_losses: int) -> float:
    """The exact two-sided p that wins and losses are equally likely; 1 where there are neither."""
    if num_wins + num_losses == 0:
        return 1.0
    from scipy import stats

    return float(stats.binomtest(num_wins, num_wins + num_losses, 0.5).pvalue)


def sign_flip_test(
    difference_N: np.ndarray, seed: int, weight_N: np.ndarray | None = None
) -> float:
    """The two-sided p that paired differences scatter symmetrically around 0, by flipping their
    signs: every way up to 13 rows, else 9,999 drawn ones. 1 where all are 0.

    n rows cannot give less than 2 / 2^n, so few rows never decide. Raises ValueError as
    `weighted_mean` does.
    """
    difference_N, weight_N = _checked(difference_N, weight_N)
    term_N = difference_N * weight_N
    term_N = term_N[term_N != 0]
    num_rows = len(term_N)
    if not num_rows:
        return 1.0
    # sums of the same terms in another order must count as equal
    reached = abs(term_N.sum()) - 1e-9 * np.abs(term_N).sum()
    if num_rows <= EXACT_ROWS:
        bits = np.arange(2**num_rows)[:, None] >> np.arange(num_rows)
        return float((np.abs((1 - 2 * (bits & 1)) @ term_N) >= reached).mean())
    rng = np.random.default_rng(seed)
    block = max(1, BLOCK_ENTRIES // num_rows)
    num_as_far = 0
    for start in range(0, NUM_FLIPS, block):
        size = min(block, NUM_FLIPS - start)
        flips = 1.0 - 2.0 * rng.integers(2, size=(size, num_rows), dtype=np.int8)
        num_as_far += int((np.abs(flips @ term_N) >= reached).sum())
    return (num_as_far + 1) / (NUM_FLIPS + 1)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Each comparison's p after Holm's correction for their number (Holm 1979), in the order given:
    the largest of (m - j + 1) p_(j) over the p-values up to its own, at most 1."""
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        if not 0 <= p_values[name] <= 1:
            raise ValueError(f"{name}: {p_values[name]} is no p-value")
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


def prediction_interval(value_K: np.ndarray) -> Bounds | None:
    """Where a further draw lies with 95%, if draws are normal: mean +- t(K-1) sd sqrt(1 + 1/K).

    None for fewer than 2 draws, and for draws all alike, which show no spread to judge by.
    """
    value_K = np.asarray(value_K, np.float64)
    num_draws = len(value_K)
    # means over the same rows summed in another order are alike too
    if num_draws < 2 or np.ptp(value_K) <= ROUNDING * np.abs(value_K).max():
        return None
    from scipy import stats

    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, num_draws - 1))
    half = quantile * float(value_K.std(ddof=1)) * math.sqrt(1 + 1 / num_draws)
    return float(value_K.mean()) - half, float(value_K.mean()) + half
