"""A race in a world whose deltas are all known: what it would cost and keep, without a model."""

import itertools
from typing import Any, Protocol

import numpy as np

from nuggets_ray.schedule.race import RaceSettings, plan
from nuggets_ray.schedule.seen import ALL, Entrants, Seen, SeenPart


class Raceable(Protocol):
    """What a race needs of a world; `ask` counts, `rounds` is counted here."""

    delta: np.ndarray
    demo_tokens: np.ndarray
    anchor_tokens: np.ndarray
    rounds: int

    def ask(self, rows: np.ndarray, anchors: np.ndarray) -> np.ndarray: ...


def race_world(world: Raceable, K: int, max_loss: float = 0.01, seed: int = 0) -> dict[str, Any]:
    """Race for the best `K` rows of `world`: {"chosen": rows in rank order, "expected_recall"}.

    `seed` draws the pilot. Of the world only `ask`, the tokens and the shape of `delta` are read;
    `world.rounds` counts the barriers.
    """
    num_candidates, num_anchors = world.delta.shape
    hash_N = np.random.default_rng(seed).permutation(num_candidates).astype(np.uint64)
    entrants = Entrants(hash_N, world.demo_tokens, world.anchor_tokens)
    settings = RaceSettings(K, max_loss)
    stage_N = np.zeros(num_candidates, np.int64)
    blocks: list[np.ndarray] = []
    parts: list[SeenPart] = []
    for num_barriers in itertools.count():
        step = plan(entrants, Seen(stage_N, blocks, lambda: parts), settings, num_barriers)
        if not step.asks:
            break
        blocks = blocks if step.block is None else [*blocks, step.block]
        stage_N = stage_N.copy()
        for ask in step.asks:
            parts.append(SeenPart(ask.rows, ask.anchors, world.ask(ask.rows, ask.anchors)))
            stage_N[ask.rows] = ALL if step.target is None else step.target
        world.rounds += 1
    assert step.fitted is not None
    return {
        "chosen": step.fitted.ranked()[:K],
        "expected_recall": step.report.expected_recall,
    }
