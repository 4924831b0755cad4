"""A race in a made-up world, step by step, as a driver would lead it."""

import dataclasses

import numpy as np

from nuggets_ray.bench.worlds import RaceWorld
from nuggets_ray.schedule.race import RacePlan, RaceSettings, plan
from nuggets_ray.schedule.seen import ALL, Entrants, Seen, SeenPart


def full_order(world: RaceWorld) -> np.ndarray:
    """Full scoring's ranking: wins, ties by mean delta."""
    wins_N = np.count_nonzero(world.delta > 0, axis=1)
    return np.lexsort((-world.delta.mean(axis=1), -wins_N))


def share_kept(world: RaceWorld, chosen: np.ndarray, num_kept: int) -> float:
    return len(np.intersect1d(chosen, full_order(world)[:num_kept])) / num_kept


@dataclasses.dataclass
class Race:
    """What has been asked of `world`; `hash_N` says who is in the pilot."""

    world: RaceWorld
    settings: RaceSettings
    hash_N: np.ndarray
    blocks: list[np.ndarray] = dataclasses.field(default_factory=list)
    parts: list[SeenPart] = dataclasses.field(default_factory=list)
    num_barriers: int = 0

    def __post_init__(self) -> None:
        self.stage_N = np.zeros(len(self.world.delta), np.int64)

    @property
    def entrants(self) -> Entrants:
        return Entrants(self.hash_N, self.world.demo_tokens, self.world.anchor_tokens)

    @property
    def seen(self) -> Seen:
        return Seen(self.stage_N, self.blocks, lambda: self.parts)

    def plan(self) -> RacePlan:
        return plan(self.entrants, self.seen, self.settings, self.num_barriers)

    def answer(self, step: RacePlan) -> None:
        """Compute what the plan asks."""
        self.num_barriers += 1
        if step.block is not None:
            self.blocks = [*self.blocks, step.block]
        for ask in step.asks:
            delta = self.world.ask(ask.rows, ask.anchors)
            self.parts.append(SeenPart(ask.rows, ask.anchors, delta))
            self.stage_N[ask.rows] = ALL if step.target is None else step.target

    def run(self) -> RacePlan:
        """Go on to the end; the plan that says that it is settled."""
        step = self.plan()
        while step.asks:
            self.answer(step)
            step = self.plan()
        return step


def start_race(world: RaceWorld, settings: RaceSettings) -> Race:
    hash_N = np.random.default_rng(5).permutation(len(world.delta)).astype(np.uint64)
    return Race(world, settings, hash_N)


def complete_race(world: RaceWorld, settings: RaceSettings) -> Race:
    """Every row on every anchor."""
    race = start_race(world, settings)
    num_rows, num_anchors = world.delta.shape
    race.parts = [SeenPart(np.arange(num_rows), np.arange(num_anchors), world.delta)]
    race.stage_N[:] = ALL
    return race
