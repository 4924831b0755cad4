"""What scoring and selecting cost from ten thousand to a million candidates.

    tokens     full: every demonstration and every anchor once a candidate; race: those that it asks
               in a world like the run, up to study.race_rows rows; beyond, pilot + a constant a row
    seconds    tokens over the tokens a second that the run itself computed
    driver     ids of every row, and of a race the answers that it holds

Measured: the run itself. Rehearsed: races in the world like the run. Modelled: the rest.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nuggets_ray.config.study import StudyConfig
from nuggets_ray.schedule.race import pilot_size
from nuggets_ray.schedule.rehearse import race_world
from nuggets_ray.studies.matrix import DeltaMatrix
from nuggets_ray.studies.run_costs import RunCosts
from nuggets_ray.studies.run_world import world_like

REHEARSALS = (0.1, 0.3, 1.0)
"""Shares of study.race_rows that races are rehearsed at."""
MEASURED, REHEARSED, MODELLED = "measured", "rehearsed", "modelled"
FULL = "full"


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A race for the top `share` of `num_rows` rows like the run's."""

    share: float
    num_rows: int
    tokens: float
    passes: int
    answer_bytes: int
    full_tokens: float


@dataclass(frozen=True, slots=True)
class CostPoint:
    """What a selector costs at `num_candidates`, and how that is known. `pool_passes`: its tokens
    over those of the demonstrations, so that hardware and model do not matter."""

    selector: str
    num_candidates: int
    source: str
    tokens: float
    pool_passes: float
    worker_s: float
    driver_gib: float


@dataclass(frozen=True, slots=True)
class Scalability:
    """The whole study. `fit_error`: how far the first half of the run, as a rate, is off its
    second half, None where it was not timed; `race_error` {share: how far the largest rehearsal
    but one is off what the largest predicts}."""

    points: tuple[CostPoint, ...]
    rehearsals: tuple[Rehearsal, ...]
    fit_error: float | None
    race_error: dict[float, float]


def study_scalability(
    costs: RunCosts, matrix: DeltaMatrix, config: StudyConfig, seed: int
) -> Scalability:
    """`matrix`: rows that met every anchor and stand for all."""
    shares = sorted({min(config.cuts), max(config.cuts)})
    rehearsals = tuple(
        _rehearse(costs, matrix, share, max(100, round(part * config.race_rows)), seed)
        for share in shares
        for part in REHEARSALS
    )
    points = _measured(costs)
    for num in config.candidates:
        points += [
            _point(costs, name, num, MODELLED, tokens * num)
            for name, tokens in _flat_tokens(costs).items()
        ]
        for share in shares:
            of_share = [one for one in rehearsals if one.share == share]
            tokens, answers = _race_tokens(of_share[-1], num)
            points.append(_point(costs, _race(share), num, MODELLED, tokens, answers))
    points += [
        _point(costs, _race(one.share), one.num_rows, REHEARSED, one.tokens, one.answer_bytes)
        for one in rehearsals
    ]
    errors = {share: _race_error([r for r in rehearsals if r.share == share]) for share in shares}
    return Scalability(tuple(points), rehearsals, _fit_error(costs), errors)


def _race(share: float) -> str:
    return f"race, top {100 * share:g}%"


def _flat_tokens(costs: RunCosts) -> dict[str, float]:
    """Tokens a candidate of what costs the same for each. A signal of the scoring pass is told as
    what it would cost alone; beside a full run perplexity and rds cost no token."""
    demo = float(costs.demo_tokens_N.mean())
    return {
        FULL: costs.full_tokens,
        "ifd alone": demo + costs.mean_answer_tokens,
        "perplexity or rds alone": demo,
        "longest, random": 0.0,
    }


def _rehearse(
    costs: RunCosts, matrix: DeltaMatrix, share: float, num_rows: int, seed: int
) -> Rehearsal:
    demo_tokens_N = costs.tokens_of(matrix.content_id_N)
    world = world_like(matrix.delta_NA, demo_tokens_N, costs.anchor_tokens_A, num_rows, seed)
    race_world(world, max(1, math.ceil(share * num_rows)), seed=seed)
    return Rehearsal(
        share, num_rows, world.tokens, world.passes, world.answer_bytes, world.full_tokens
    )


def _race_tokens(largest: Rehearsal, num: int) -> tuple[float, float]:
    """(tokens, bytes of answers) of a race among `num`: its pilot in full, and what a row costs
    beyond that in the largest rehearsal."""
    row_tokens = largest.full_tokens / largest.num_rows
    rows = largest.num_rows

    def scaled(total: float, of_pilot_row: float) -> float:
        beyond = (total - pilot_size(rows) * of_pilot_row) / (rows - pilot_size(rows))
        pilot = min(pilot_size(num), num)
        return pilot * of_pilot_row + (num - pilot) * max(beyond, 0.0)

    return scaled(largest.tokens, row_tokens), largest.answer_bytes / rows * num


def _race_error(rehearsals: Sequence[Rehearsal]) -> float:
    """What the largest rehearsal predicts for the one before it, over what that one took, less
    1."""
    before, largest = rehearsals[-2:]
    return _race_tokens(largest, before.num_rows)[0] / before.tokens - 1


def _fit_error(costs: RunCosts) -> float | None:
    points = costs.progress_P2
    if len(points) < 4:
        return None
    middle = points[len(points) // 2]
    last = points[-1]
    if last[0] == middle[0]:
        return None
    first_rate, second_rate = middle[0] / middle[1], (last[0] - middle[0]) / (last[1] - middle[1])
    return float(first_rate / second_rate - 1)


def _measured(costs: RunCosts) -> list[CostPoint]:
    """Full scoring as the run did it, at a few of its progress lines."""
    points = costs.progress_P2
    if not len(points):
        return []
    # the first tenth is a few candidates, timed by chance
    first = len(points) // 10
    marks = np.unique(np.linspace(first, len(points) - 1, min(len(points), 6)).astype(int))
    demo = float(costs.demo_tokens_N.mean())
    return [
        CostPoint(
            FULL, int(num), MEASURED, num * costs.full_tokens, costs.full_tokens / demo,
            float(seconds), num * costs.ids_bytes / 2**30,
        )
        for num, seconds in points[marks]
    ]  # fmt: skip


def _point(
    costs: RunCosts, selector: str, num: int, source: str, tokens: float, answers: float = 0.0
) -> CostPoint:
    demo = float(costs.demo_tokens_N.mean())
    return CostPoint(
        selector=selector,
        num_candidates=num,
        source=source,
        tokens=tokens,
        pool_passes=tokens / (num * demo),
        worker_s=tokens / costs.tokens_per_s,
        driver_gib=(num * costs.ids_bytes + answers) / 2**30,
    )
