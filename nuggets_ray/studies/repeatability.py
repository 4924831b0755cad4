"""How far two rankings of the same rows agree, and what more anchors would make of it.

A score on n anchors whose correlation with one on n others is r has, on k n anchors, correlation

    r_k = k r / (1 + (k - 1) r)                                       (Spearman 1910, Brown 1910)

That holds for linear correlations over all rows. The share of a top cut that two sets both keep
does not follow from it: the cut has a correlation of its own (schedule/split_halves.py), and that
one is carried to other numbers of anchors. Subsampling says how well (see the study).

Legend: N rows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from nuggets_ray.schedule.split_halves import correlation_of, overlap_of
from nuggets_ray.signals.repeatability import spearman_brown
from nuggets_ray.studies.measures import Ranking


@dataclass(frozen=True, slots=True)
class RankAgreement:
    """Of two rankings: linear, Spearman's and Kendall's correlation; `overlaps`, a cut each, the
    share of the kept rows that both keep; `error`, the standard error of one score that their
    differences show, without the shift that all rows share."""

    linear: float
    spearman: float
    kendall: float
    error: float
    overlaps: tuple[float, ...]


def agree(first: Ranking, second: Ranking, kept: Sequence[int]) -> RankAgreement:
    """`kept`: rows that each cut keeps. Correlations are 0 where a ranking has no spread."""
    x_N, y_N = first.score_N, second.score_N
    overlaps = [len(np.intersect1d(first.top(k), second.top(k))) / k for k in kept]
    error = float(np.std(x_N - y_N) / math.sqrt(2))
    if np.ptp(x_N) == 0 or np.ptp(y_N) == 0:
        return RankAgreement(0.0, 0.0, 0.0, error, tuple(overlaps))
    return RankAgreement(
        linear=float(np.corrcoef(x_N, y_N)[0, 1]),
        spearman=float(stats.spearmanr(x_N, y_N).statistic),
        kendall=float(stats.kendalltau(x_N, y_N).statistic),
        error=error,
        overlaps=tuple(overlaps),
    )


def mean_agreement(agreements: Sequence[RankAgreement]) -> RankAgreement:
    """The mean of each number over draws."""
    overlaps = np.mean([one.overlaps for one in agreements], axis=0)
    numbers = ("linear", "spearman", "kendall", "error")
    means = {name: float(np.mean([getattr(one, name) for one in agreements])) for name in numbers}
    return RankAgreement(**means, overlaps=tuple(overlaps.tolist()))


def extend(measured: RankAgreement, ratio: float, shares: Sequence[float]) -> RankAgreement:
    """What is expected of `ratio` times as many anchors."""
    overlaps = [
        overlap_of(spearman_brown(correlation_of(overlap, share), ratio), share)
        for overlap, share in zip(measured.overlaps, shares, strict=True)
    ]
    of_ranks = 2 * math.sin(math.pi * measured.spearman / 6)  # a normal pair's own correlation
    of_pairs = math.sin(math.pi * measured.kendall / 2)
    return RankAgreement(
        linear=spearman_brown(measured.linear, ratio),
        spearman=6 / math.pi * math.asin(spearman_brown(of_ranks, ratio) / 2),
        kendall=2 / math.pi * math.asin(spearman_brown(of_pairs, ratio)),
        error=measured.error / math.sqrt(ratio),
        overlaps=tuple(overlaps),
    )


def ratio_for(measured: RankAgreement, cut: int, share: float, wanted: float) -> float:
    """How many times as many anchors the cut takes until its overlap is `wanted`; inf where what
    was measured is not above chance."""
    now = correlation_of(measured.overlaps[cut], share)
    then = correlation_of(wanted, share)
    if now <= 0:
        return math.inf
    return then * (1 - now) / (now * (1 - then))
