"""bench=race: what schedule=race costs and keeps, against full scoring, in made-up worlds.

    passes, tokens   full scoring's over the race's, harmonic mean over seeds; a demonstration that
                     is read again counts again
    exact            share of full scoring's best K (win share, ties by mean delta) that was kept
    fair             the same, any row right whose full score reaches the K-th
    promised         what the race itself said before it knew

Legend: N candidates, M anchors.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nuggets_ray.bench.plan import BenchResults
from nuggets_ray.bench.rows import Row, make_row
from nuggets_ray.bench.session import check_request, finish
from nuggets_ray.bench.worlds import WORLDS, RaceWorld
from nuggets_ray.config.schema import Config
from nuggets_ray.markdown import markdown_table
from nuggets_ray.schedule.rehearse import race_world

logger = logging.getLogger(__name__)

NUM_CANDIDATES = 5000


@dataclass(frozen=True, slots=True)
class RaceCase:
    """Races in `world` for this share of the candidates; of large ones at most `max_seeds`."""

    world: str
    num_anchors: int
    share: float
    num_candidates: int | None = None
    max_seeds: int | None = None

    @property
    def name(self) -> str:
        size = "" if self.num_candidates is None else f"-{self.num_candidates}"
        return f"{self.world}-{self.num_anchors}-{self.share:.0%}{size}"


CASES = {
    case.name: case
    for case in (
        RaceCase("factor", 1000, 0.01),
        RaceCase("factor", 100, 0.01),
        RaceCase("factor", 1000, 0.05),
        RaceCase("factor", 100, 0.05),
        RaceCase("factor", 1000, 0.10),
        RaceCase("factor_tail", 1000, 0.01),
        RaceCase("item_response", 1000, 0.01),
        RaceCase("item_response", 100, 0.01),
        RaceCase("exchangeable", 1000, 0.01),
        RaceCase("exchangeable", 100, 0.01),
        RaceCase("factor", 1000, 0.01, num_candidates=50_000, max_seeds=2),
        RaceCase("factor", 100, 0.01, num_candidates=50_000, max_seeds=2),
    )
}
METRICS = {
    "passes": "x",
    "tokens": "x",
    "rounds": "",
    "exact": "",
    "worst": "",
    "fair": "",
    "promised": "",
}
"""What `summarise` gives, and the units."""


@dataclass(frozen=True, slots=True)
class RaceOutcome:
    """One race beside full scoring: savings as ratios, recalls as shares."""

    passes: float
    tokens: float
    rounds: int
    exact: float
    fair: float
    promised: float


def outcome(world: RaceWorld, num_kept: int, seed: int = 0) -> RaceOutcome:
    """Race in `world` and hold the rows that were chosen against full scoring's."""
    result = race_world(world, num_kept, seed=seed)
    chosen = result["chosen"]
    wins_N = np.count_nonzero(world.delta > 0, axis=1)
    order = np.lexsort((-world.delta.mean(axis=1), -wins_N))
    num_candidates, num_anchors = world.delta.shape
    full_tokens = world.demo_tokens.sum() + num_candidates * world.anchor_tokens.sum()
    return RaceOutcome(
        passes=num_candidates * num_anchors / world.passes,
        tokens=float(full_tokens / world.tokens),
        rounds=world.rounds,
        exact=len(np.intersect1d(chosen, order[:num_kept])) / num_kept,
        fair=float(np.mean(wins_N[chosen] >= wins_N[order[num_kept - 1]])),
        promised=result["expected_recall"],
    )


def bench(config: Config) -> dict[str, Any]:
    """Race in every case with `bench.repeats` seeds, print, write and log; the JSON object of the
    last line. Raises UserError for a case that is not known and a file that cannot be written.
    """
    check_request(config, CASES, [])
    rows: list[Row] = []
    lines: list[list[str]] = []
    for name in config.bench.cases or CASES:
        case, num_seeds = CASES[name], config.bench.repeats
        num_seeds = min(num_seeds, case.max_seeds or num_seeds)
        figures = summarise(_outcomes(case, num_seeds))
        logger.info("%s: %s", name, ", ".join(f"{key} {v:.3g}" for key, v in figures.items()))
        rows += [make_row(name, "race", key, value, METRICS[key]) for key, value in figures.items()]
        told = [f"{v:.3f}" if v <= 1 else f"{v:.1f}" for v in figures.values()]
        lines.append([name, str(num_seeds), *told])
    head = f"{NUM_CANDIDATES} candidates where a case names no other number, max_loss 0.01"
    table = markdown_table(["case", "seeds", *METRICS], lines)
    return finish(config, f"{head}\n\n{table}", rows, BenchResults())


def _outcomes(case: RaceCase, num_seeds: int) -> list[RaceOutcome]:
    num_candidates = case.num_candidates or NUM_CANDIDATES
    worlds = (
        WORLDS[case.world](num_candidates, case.num_anchors, seed) for seed in range(num_seeds)
    )
    return [outcome(world, round(case.share * num_candidates)) for world in worlds]


def summarise(outcomes: Sequence[RaceOutcome]) -> dict[str, float]:
    """Savings as harmonic means, recalls as means and their worst, the most barriers."""
    return {
        "passes": len(outcomes) / sum(1 / one.passes for one in outcomes),
        "tokens": len(outcomes) / sum(1 / one.tokens for one in outcomes),
        "rounds": max(one.rounds for one in outcomes),
        "exact": float(np.mean([one.exact for one in outcomes])),
        "worst": min(one.exact for one in outcomes),
        "fair": float(np.mean([one.fair for one in outcomes])),
        "promised": float(np.mean([one.promised for one in outcomes])),
    }
