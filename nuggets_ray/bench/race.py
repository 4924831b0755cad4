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
from nuggets_ray.bench.session import check_request, finish
from nuggets_ray.bench.tables import Row, make_row
from nuggets_ray.bench.worlds import WORLDS, RaceWorld
from nuggets_ray.config.schema import Config
from nuggets_ray.markdown import markdown_table
from nuggets_ray.schedule.rehearse import race_world

logger = logging.getLogger(__name__)

NUM_CANDIDATES = 5000
CASES: dict[str, tuple[str, int, float]] = {
    f"{world}-{num_anchors}-{share:.0%}": (world, num_anchors, share)
    for world, num_anchors, share in (
        ("factor", 1000, 0.01),
        ("factor", 100, 0.01),
        ("factor", 1000, 0.05),
        ("factor", 100, 0.05),
        ("factor", 1000, 0.10),
        ("factor_tail", 1000, 0.01),
        ("item_response", 1000, 0.01),
        ("item_response", 100, 0.01),
        ("exchangeable", 1000, 0.01),
        ("exchangeable", 100, 0.01),
    )
}
"""name: (world, anchors, share that is kept)."""
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
        figures = summarise(_outcomes(name, config.bench.repeats))
        logger.info("%s: %s", name, ", ".join(f"{key} {v:.3g}" for key, v in figures.items()))
        rows += [make_row(name, "race", key, value, METRICS[key]) for key, value in figures.items()]
        lines.append([name, *(f"{v:.3f}" if v <= 1 else f"{v:.1f}" for v in figures.values())])
    head = (
        f"{NUM_CANDIDATES} candidates, {config.bench.repeats} seeds, made-up worlds, max_loss 0.01"
    )
    table = markdown_table(["case", *METRICS], lines)
    return finish(config, f"{head}\n\n{table}", rows, BenchResults())


def _outcomes(case: str, num_seeds: int) -> list[RaceOutcome]:
    kind, num_anchors, share = CASES[case]
    worlds = (WORLDS[kind](NUM_CANDIDATES, num_anchors, seed) for seed in range(num_seeds))
    return [outcome(world, round(share * NUM_CANDIDATES)) for world in worlds]


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
