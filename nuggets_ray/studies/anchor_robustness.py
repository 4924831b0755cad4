"""What a score owes to the anchors that it was taken on, told from a scored run without a pass.

    size          pairs of disjoint random anchor sets of n, up to half of the run's, rank the same
                  rows; how far they agree is measured, and carried on to more anchors
    check         what a quarter of the anchors predicts for half of them, beside what is measured
    composition   n anchors chosen by a rule from one half of the anchors, held against the golden
                  score on all of the other half

Legend: N rows, A anchors, S anchors of a subset.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nuggets_ray.config.study import MIN_SIZE, StudyConfig
from nuggets_ray.schedule.split_halves import overlap_of
from nuggets_ray.studies.anchor_rules import RULES
from nuggets_ray.studies.matrix import DeltaMatrix
from nuggets_ray.studies.measures import MEASURES, golden_score
from nuggets_ray.studies.repeatability import (
    RankAgreement,
    agree,
    extend,
    mean_agreement,
    ratio_for,
)

BASE_SIZES = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)
MIN_KEPT = 5
"""Rows that a cut must keep for its overlap to be measured: one of four kept is luck."""
SLOW_DRAWS = 5
"""Draws of the posterior score, which fits a model each time."""
GOLDEN = "golden_score"


@dataclass(frozen=True, slots=True)
class SizePoint:
    """How far two sets of `num_anchors` agree under a measure; measured, or predicted. `golden`:
    what the measure on one set says of the golden score on the other (measured only)."""

    measure: str
    num_anchors: int
    is_measured: bool
    num_draws: int
    agreement: RankAgreement
    golden: RankAgreement | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A cut's overlap at half of the anchors: measured; predicted from a quarter of them by the
    correlation at the cut, and by the plain correlation of all rows."""

    measure: str
    share: float
    measured: float
    predicted: float
    by_all_rows: float


@dataclass(frozen=True, slots=True)
class CompositionPoint:
    """How well `num_anchors` chosen by a rule tell what the golden score on `num_held_out` others
    says; `spread` is the standard deviation of Spearman's rho over draws."""

    rule: str
    num_anchors: int
    num_held_out: int
    agreement: RankAgreement
    spread: float


@dataclass(frozen=True, slots=True)
class Cut:
    """What the run's own anchors are worth for a cut under the golden score.

    `overlap` with a second set of as many, and its standard `error` for so few rows;
    `wanted_anchors`: how many reach study.min_overlap, None where no number is foreseen to;
    `num_tied`: rows that share the score of the last one kept.
    """

    share: float
    num_kept: int
    num_tied: int
    overlap: float
    error: float
    overlap_of_ten_times: float
    wanted_anchors: int | None
    is_enough: bool


@dataclass(frozen=True, slots=True)
class Robustness:
    """The whole study. `cuts` and overlaps hold those of study.cuts that keep enough rows;
    `too_few_rows` the others."""

    points: tuple[SizePoint, ...]
    checks: tuple[Check, ...]
    composition: tuple[CompositionPoint, ...]
    cuts: tuple[Cut, ...]
    too_few_rows: tuple[float, ...]
    without_posterior: bool

    def point(self, measure: str, num_anchors: int) -> SizePoint:
        """Raises KeyError where there is none."""
        for one in self.points:
            if (one.measure, one.num_anchors) == (measure, num_anchors):
                return one
        raise KeyError((measure, num_anchors))


def study_robustness(matrix: DeltaMatrix, config: StudyConfig, seed: int) -> Robustness:
    """Measure, check, and carry on. Deterministic in `seed`."""
    counts = {share: math.ceil(share * matrix.num_rows - 1e-9) for share in config.cuts}
    kept = {share: count for share, count in counts.items() if count >= MIN_KEPT}
    half = matrix.num_anchors // 2
    points: list[SizePoint] = []
    checks: list[Check] = []
    for measure in MEASURES:
        measured = _measure(matrix, measure, _measured_sizes(matrix, config), kept, config, seed)
        if not measured:
            continue
        points += measured
        largest = measured[-1]
        for size in _predicted_sizes(matrix, config):
            more = extend(largest.agreement, size / largest.num_anchors, list(kept))
            points.append(SizePoint(measure, size, False, largest.num_draws, more))
        checks += _checks(measured, half, list(kept))
    composition = tuple(_composition(matrix, kept, config, seed))
    names = {point.measure for point in points}
    found = Robustness(
        tuple(points), tuple(checks), composition, (), tuple(set(counts) - set(kept)),
        "posterior_score" not in names,
    )  # fmt: skip
    return _with_cuts(found, matrix, kept, config)


def sizes_told(num_anchors: int, config: StudyConfig) -> list[int]:
    """study.sizes, or the usual ones up to ten times the run's."""
    usual = [size for size in BASE_SIZES if size <= 10 * num_anchors]
    return sorted(set(config.sizes or usual))


def _measured_sizes(matrix: DeltaMatrix, config: StudyConfig) -> list[int]:
    """Those of which two disjoint sets fit, a quarter and a half of the anchors among them."""
    half = matrix.num_anchors // 2
    told = [size for size in sizes_told(matrix.num_anchors, config) if size < half]
    return sorted({*told, max(MIN_SIZE, half // 2), half})


def _predicted_sizes(matrix: DeltaMatrix, config: StudyConfig) -> list[int]:
    num_anchors = matrix.num_anchors
    told = [size for size in sizes_told(num_anchors, config) if size > num_anchors // 2]
    return sorted({*told, num_anchors, 10 * num_anchors})


def _measure(
    matrix: DeltaMatrix,
    measure: str,
    sizes: Sequence[int],
    kept: dict[float, int],
    config: StudyConfig,
    seed: int,
) -> list[SizePoint]:
    """The agreement of disjoint random pairs at each size; [] where the measure has no score."""
    num_draws = min(config.draws, SLOW_DRAWS) if measure == "posterior_score" else config.draws
    points = []
    for size in sizes:
        rng = np.random.default_rng([seed, size])
        alike: list[RankAgreement] = []
        golden: list[RankAgreement] = []
        for _ in range(num_draws):
            order = rng.permutation(matrix.num_anchors)
            one, other = (matrix.delta_NA[:, order[i : i + size]] for i in (0, size))
            first, second = MEASURES[measure](one), MEASURES[measure](other)
            if first is None or second is None:
                break
            alike.append(agree(first, second, list(kept.values())))
            golden.append(agree(first, golden_score(other), list(kept.values())))
        if alike:
            means = mean_agreement(alike), mean_agreement(golden)
            points.append(SizePoint(measure, size, True, len(alike), *means))
    return points


def _checks(measured: Sequence[SizePoint], half: int, shares: list[float]) -> Iterator[Check]:
    """Predictions for half of the anchors from a quarter of them."""
    by_size = {point.num_anchors: point for point in measured}
    quarter = by_size.get(max(MIN_SIZE, half // 2))
    if quarter is None or half not in by_size or quarter.num_anchors == half:
        return
    there, ratio = by_size[half].agreement, half / quarter.num_anchors
    more = extend(quarter.agreement, ratio, shares)
    for index, share in enumerate(shares):
        yield Check(
            quarter.measure, share, there.overlaps[index], more.overlaps[index],
            overlap_of(max(there.linear, 0.0), share),
        )  # fmt: skip


def _composition(
    matrix: DeltaMatrix, kept: dict[float, int], config: StudyConfig, seed: int
) -> Iterator[CompositionPoint]:
    """The rules look at half of the rows and are judged on all others."""
    half = matrix.num_anchors // 2
    sizes = [size for size in sizes_told(matrix.num_anchors, config) if size <= half // 2]
    counts = [max(1, round(count / 2)) for count in kept.values()]
    for size in sizes:
        for name, rule in RULES.items():
            rng = np.random.default_rng([seed, size])  # the same halves for every rule
            found = []
            for draw in range(config.draws):
                order, rows = rng.permutation(matrix.num_anchors), rng.permutation(matrix.num_rows)
                pool, held_out = order[:half], order[half:]
                seen, judged = np.array_split(rows, 2)
                chosen = pool[rule(matrix.delta_NA[np.ix_(seen, pool)], size, seed + draw)]
                ranking = golden_score(matrix.delta_NA[np.ix_(judged, chosen)])
                truth = golden_score(matrix.delta_NA[np.ix_(judged, held_out)])
                found.append(agree(ranking, truth, counts))
            spread = float(np.std([one.spearman for one in found]))
            yield CompositionPoint(name, size, len(held_out), mean_agreement(found), spread)


def _with_cuts(
    found: Robustness, matrix: DeltaMatrix, kept: dict[float, int], config: StudyConfig
) -> Robustness:
    num_anchors = matrix.num_anchors
    ranking = golden_score(matrix.delta_NA)
    base = found.point(GOLDEN, num_anchors // 2)
    cuts = []
    for index, (share, count) in enumerate(kept.items()):
        overlap = found.point(GOLDEN, num_anchors).agreement.overlaps[index]
        ratio = ratio_for(base.agreement, index, share, config.min_overlap)
        wanted = None if math.isinf(ratio) else max(1, math.ceil(ratio * base.num_anchors))
        cuts.append(
            Cut(
                share=share,
                num_kept=count,
                num_tied=ranking.num_tied(count),
                overlap=overlap,
                error=math.sqrt(overlap * (1 - overlap) / count),
                overlap_of_ten_times=found.point(GOLDEN, 10 * num_anchors).agreement.overlaps[
                    index
                ],
                wanted_anchors=wanted,
                is_enough=overlap >= config.min_overlap,
            )
        )
    return Robustness(
        found.points, found.checks, found.composition, tuple(cuts), found.too_few_rows,
        found.without_posterior,
    )  # fmt: skip
