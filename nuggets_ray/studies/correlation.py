"""Does a model learn more from rows with higher scores? The numbers of the arms, and what they say.

    gain       mean log-prob of the held-out answers under the trained model less under the base, in
               nats per answer token
    r          linear correlation of the groups' mean signal with their gain, over the mean of seeds
    p          exact: the share of all orders of the groups' labels with as large an |r|
    interval   of r a training seed each: mean +- t(seeds - 1) sd / sqrt(seeds), within [-1, 1]

Legend: G groups, S seeds, O orders of the groups.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from scipy import stats

from nuggets_ray.studies.arms import GROUP

MAX_EXACT = 8
"""Groups whose orders are all counted: 40,320; of more, as many are drawn."""
NUM_DRAWN = 40_320
SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class ArmResult:
    """What a training gave: `gain` in nats per answer token of the held-out rows `held_out`
    (their hash), `mean_signal` of its rows."""

    name: str
    kind: str
    seed: int
    num_rows: int
    num_answer_tokens: int
    mean_signal: float
    gain: float
    held_out: str


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """An arm over its seeds; `low` and `high` bound the mean gain with 95%, None of one seed."""

    name: str
    kind: str
    num_seeds: int
    num_rows: float
    num_answer_tokens: float
    mean_signal: float
    gain: float
    sd: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Correlation:
    """Of the groups: `r` and Spearman's `rho` of mean signal and mean gain, the permutation's `p`
    and the least that these groups allow; `by_seed` r of each seed with the interval of their mean
    (None: fewer than two); `of_tokens` the correlation of gain with the groups' answer tokens."""

    num_groups: int
    num_seeds: int
    r: float
    rho: float
    p: float
    least_p: float
    by_seed: tuple[float, ...]
    low: float | None
    high: float | None
    of_tokens: float


def summarise(results: Sequence[ArmResult]) -> list[ArmSummary]:
    """An entry an arm, in the order they come."""
    return [
        _summary([result for result in results if result.name == name])
        for name in dict.fromkeys(result.name for result in results)
    ]


def correlate(results: Sequence[ArmResult], num_groups: int) -> Correlation | None:
    """None until every group has a training, and for fewer than three groups."""
    groups = [one for one in summarise(results) if one.kind == GROUP]
    if len(groups) < max(3, num_groups):
        return None
    signal_G = np.array([one.mean_signal for one in groups])
    gain_G = np.array([one.gain for one in groups])
    by_seed = tuple(_by_seed(results, [one.name for one in groups]))
    low, high = _interval(by_seed, -1.0, 1.0)
    p, least_p = permutation_p(signal_G, gain_G)
    return Correlation(
        num_groups=len(groups),
        num_seeds=min(one.num_seeds for one in groups),
        r=_r(signal_G, gain_G),
        rho=_r(stats.rankdata(signal_G), stats.rankdata(gain_G)),
        p=p,
        least_p=least_p,
        by_seed=by_seed,
        low=low,
        high=high,
        of_tokens=_r(np.array([one.num_answer_tokens for one in groups]), gain_G),
    )


def permutation_p(signal_G: np.ndarray, gain_G: np.ndarray) -> tuple[float, float]:
    """(p, the least that any order of these gains could have): the share of orders of the labels
    with as large an |r|."""
    num_groups = len(signal_G)
    is_exact = num_groups <= MAX_EXACT
    orders: Iterable[Any] = permutations(range(num_groups))
    if not is_exact:
        rng = np.random.default_rng(0)
        orders = (rng.permutation(num_groups) for _ in range(NUM_DRAWN))
    centred_G = gain_G - gain_G.mean()
    scale = float(np.linalg.norm(signal_G - signal_G.mean()) * np.linalg.norm(centred_G))
    if scale == 0:
        return 1.0, 1.0
    r_O = np.array([abs(float(signal_G[list(order)] @ centred_G)) / scale for order in orders])
    observed = abs(_r(signal_G, gain_G))
    if is_exact:
        as_large, least = (np.mean(r_O >= r - SLACK) for r in (observed, r_O.max()))
        return float(as_large), float(least)
    num_as_large = int(np.count_nonzero(r_O >= observed - SLACK))
    return (num_as_large + 1) / (NUM_DRAWN + 1), 1 / (NUM_DRAWN + 1)


def lead(results: Sequence[ArmResult], name: str, other: str) -> tuple[float, float, float] | None:
    """The mean gain of one arm less that of another, with its 95% interval (Welch); None where one
    has fewer than two trainings."""
    gains = _gains(results)
    one, two = gains.get(name, []), gains.get(other, [])
    if min(len(one), len(two)) < 2:
        return None
    difference = float(np.mean(one) - np.mean(two))
    spread = np.array([np.var(one, ddof=1) / len(one), np.var(two, ddof=1) / len(two)])
    if spread.sum() == 0:
        return difference, difference, difference
    counts = np.array([len(one) - 1, len(two) - 1])
    freedom = spread.sum() ** 2 / (spread**2 / counts).sum()
    reach = float(stats.t.ppf(0.975, freedom) * math.sqrt(spread.sum()))
    return difference, difference - reach, difference + reach


def _gains(results: Sequence[ArmResult]) -> Mapping[str, list[float]]:
    gains: dict[str, list[float]] = {}
    for result in results:
        gains.setdefault(result.name, []).append(result.gain)
    return gains


def _summary(results: Sequence[ArmResult]) -> ArmSummary:
    gains = [result.gain for result in results]
    low, high = _interval(gains, -math.inf, math.inf)
    return ArmSummary(
        name=results[0].name,
        kind=results[0].kind,
        num_seeds=len(results),
        num_rows=float(np.mean([one.num_rows for one in results])),
        num_answer_tokens=float(np.mean([one.num_answer_tokens for one in results])),
        mean_signal=float(np.mean([one.mean_signal for one in results])),
        gain=float(np.mean(gains)),
        sd=float(np.std(gains, ddof=1)) if len(gains) > 1 else None,
        low=low,
        high=high,
    )


def _by_seed(results: Sequence[ArmResult], groups: Sequence[str]) -> Iterator[float]:
    """r of the seeds that trained every group."""
    for seed in sorted({result.seed for result in results}):
        of_seed = {one.name: one for one in results if one.seed == seed and one.name in groups}
        if len(of_seed) == len(groups):
            chosen = [of_seed[name] for name in groups]
            yield _r(
                np.array([one.mean_signal for one in chosen]),
                np.array([one.gain for one in chosen]),
            )


def _r(x_G: np.ndarray, y_G: np.ndarray) -> float:
    """Linear correlation, 0 without spread."""
    if np.ptp(x_G) == 0 or np.ptp(y_G) == 0:
        return 0.0
    return float(np.corrcoef(x_G, y_G)[0, 1])


def _interval(
    values: Sequence[float], least: float, most: float
) -> tuple[float | None, float | None]:
    """95% of the mean, by t."""
    if len(values) < 2:
        return None, None
    reach = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    mean = float(np.mean(values))
    return max(least, float(mean - reach)), min(most, float(mean + reach))
