"""Intervals and tests of paired rows: bootstrap, win rate, sign test, sign-flip test, Holm.

    value = sum_i w_i x_i / sum_i w_i,   w = 1: the mean over rows; w = tokens: the mean over tokens
Suffixes: N rows, B resamples, K draws. Seeded; numpy and scipy only;
scipy's statistics take half a second to import, so inside functions.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nuggets_ray.score.golden import wilson_interval

Bounds = tuple[float, float]
NUM_RESAMPLES = 2000
NUM_FLIPS = 9999
EXACT_ROWS = 13
"""Up to here all sign flips are gone through: 2^13 are fewer than NUM_FLIPS."""
BLOCK_ENTRIES = 1 << 22
CONFIDENCE = 0.95
MIN_ROWS = 30
"""Fewer rows are too few for an interval of their mean."""
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
    """The 95% interval of the weighted mean m: the outermost of the bootstrap-t's bounds (Efron and
    Tibshirani 1993, 12.5) and of Student's. Rows are drawn with replacement, together with their
    weights, and the quantiles of t = (m* - m) / se(m*) bound it as m - t se(m); with `strata_N` as
    many from each stratum as it has. Of 30 rows the bootstrap's holds too little where tails are
    heavy to both sides, Student's where they are to one.

    None below 30 rows, where no such interval covers what it should (read the exact tests there),
    and where resampling can show no spread: values all alike, or one row in some stratum. Raises
    ValueError as `weighted_mean` does.
    """
    from scipy import stats

    value_N, weight_N = _checked(value_N, weight_N)
    strata_N = np.zeros(len(value_N), int) if strata_N is None else np.asarray(strata_N)
    groups = [np.flatnonzero(strata_N == stratum) for stratum in np.unique(strata_N)]
    if len(value_N) < MIN_ROWS or min(map(len, groups)) < 2 or np.ptp(value_N) == 0:
        return None
    sizes = list(map(len, groups))
    in_order = np.concatenate(groups)
    mean_1, error_1 = _mean_and_error(value_N[None, in_order], weight_N[None, in_order], sizes)
    mean, error = float(mean_1[0]), float(error_1[0])
    rng = np.random.default_rng(seed)
    ratios = []
    for rows in _resampled_rows(groups, num_resamples, rng):
        mean_B, error_B = _mean_and_error(value_N[rows], weight_N[rows], sizes)
        shift_B = np.where(np.abs(mean_B - mean) <= ROUNDING * abs(mean), 0.0, mean_B - mean)
        # a resample without spread says that nothing bounds the mean on that side
        ratio_B = np.copysign(np.inf, shift_B)
        ratio_B[shift_B == 0] = 0.0
        ratios.append(np.divide(shift_B, error_B, out=ratio_B, where=error_B > 0))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(ratios), [tail, 1 - tail], method="nearest")
    lowest, highest = float(value_N.min()), float(value_N.max())
    bounds = mean - float(high) * error, mean - float(low) * error
    half = float(stats.t.ppf(1 - tail, len(value_N) - len(groups))) * error
    return (
        min(bounds[0], mean - half) if np.isfinite(bounds[0]) else lowest,
        max(bounds[1], mean + half) if np.isfinite(bounds[1]) else highest,
    )


def why_no_interval(num_rows: int, exact_p: float | None = None) -> dict[str, str]:
    """{"no_interval": why} where `bootstrap_interval` gives none for their number, else {};
    `exact_p`: of the test that stands in its place.
    """
    if num_rows >= MIN_ROWS:
        return {}
    beside = "" if exact_p is None else f" (exact test: p = {exact_p:.2g})"
    return {"no_interval": f"too few for an interval{beside}"}


def _mean_and_error(
    value_BN: np.ndarray, weight_BN: np.ndarray, sizes: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted means (B,) and their standard errors (B,) by linearisation: of the residuals
    w (x - m) / sum(w), each stratum's around their own mean. Rows stand stratum by stratum.
    """
    total_B = weight_BN.sum(axis=1)
    mean_B = (weight_BN * value_BN).sum(axis=1) / total_B
    residual_BN = weight_BN * (value_BN - mean_B[:, None]) / total_B[:, None]
    variance_B = np.zeros(len(mean_B))
    for stratum_BN in np.split(residual_BN, np.cumsum(sizes)[:-1], axis=1):
        variance_B += stratum_BN.shape[1] * stratum_BN.var(axis=1, ddof=1)
    return mean_B, np.sqrt(variance_B)


def share_interval(outcome_N: np.ndarray) -> Bounds | None:
    """The 95% interval of a mean of outcomes within [0, 1], ties 0.5: that of `share_by_error`,
    with the standard error of the mean. None for one row, and where all are tied.
    """
    outcome_N = np.asarray(outcome_N, np.float64)
    num_rows, share = len(outcome_N), float(outcome_N.mean())
    if num_rows < 2:
        return None
    variance = float(outcome_N.var(ddof=1)) / num_rows
    # wins and losses alone err by n - 1 in place of n, ties by less: never more than n rows do
    return share_by_error(share, math.sqrt(min(variance, share * (1 - share) / num_rows)), num_rows)


def share_by_error(share: float, error: float, num_rows: int) -> Bounds | None:
    """The 95% interval of a share with this standard error: Wilson's (1927), of as many rows of
    wins and losses alone as err that much, and where all of the `num_rows` are won, or lost, the
    exact one of Clopper and Pearson. None where the error is 0 otherwise.
    """
    from scipy import stats

    if share in (0, 1):
        exact = stats.binomtest(round(share * num_rows), num_rows).proportion_ci(CONFIDENCE)
        return float(exact.low), float(exact.high)
    if error == 0:
        return None
    effective = share * (1 - share) / error**2
    return wilson_interval(share * effective, effective)


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


def win_rate(outcome_N: np.ndarray) -> WinRate:
    """The win rate of outcomes as `outcomes` gives them.

    Raises ValueError without rows.
    """
    value = weighted_mean(outcome_N)
    wins, losses = int((outcome_N == 1).sum()), int((outcome_N == 0).sum())
    ties = len(outcome_N) - wins - losses
    bounds = share_interval(outcome_N)
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


def pooled_sd(kinds: Sequence[np.ndarray]) -> tuple[float, int] | None:
    """The spread of draws around the mean of their own kind, and its degrees of freedom:

        sd^2 = sum over kinds of sum_K (x - mean)^2 / df,   df = sum over kinds of K - 1
    None where no kind has two draws, and where all draws of each kind are alike.
    """
    values = [np.asarray(value_K, np.float64) for value_K in kinds if len(value_K)]
    degrees = sum(len(value_K) - 1 for value_K in values)
    # means over the same rows summed in another order are alike too
    is_alike = all(np.ptp(value_K) <= ROUNDING * np.abs(value_K).max() for value_K in values)
    if degrees < 1 or is_alike:
        return None
    squares = sum(float(((value_K - value_K.mean()) ** 2).sum()) for value_K in values)
    return math.sqrt(squares / degrees), degrees


def prediction_interval(value_K: np.ndarray, sd: float, degrees: int) -> Bounds:
    """Where a further draw of this kind lies with 95%, if draws are normal and differ by `sd`,
    known from so many degrees of freedom: mean +- t(degrees) sd sqrt(1 + 1/K).
    """
    from scipy import stats

    value_K = np.asarray(value_K, np.float64)
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees))
    half = quantile * sd * math.sqrt(1 + 1 / len(value_K))
    return float(value_K.mean()) - half, float(value_K.mean()) + half


def largest_difference(sd: float, degrees: int) -> float:
    """What the difference of two trainings, each of spread `sd`, stays within with 95%, if they are
    normal: t(degrees) sd sqrt(2).
    """
    from scipy import stats

    return float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees)) * sd * math.sqrt(2)
