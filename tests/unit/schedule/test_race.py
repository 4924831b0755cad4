"""The race as a plan: what it promises, and what must not change it."""

import dataclasses

import numpy as np
import pytest

from nuggets_ray.bench.race import race_world
from nuggets_ray.bench.worlds import WORLDS, World
from nuggets_ray.schedule.race import RacePlan, RaceSettings, plan, why_full
from nuggets_ray.schedule.seen import ALL, Entrants, Seen, SeenPart

NUM_CANDIDATES = 800


def full_order(world: World) -> np.ndarray:
    wins_N = np.count_nonzero(world.delta > 0, axis=1)
    return np.lexsort((-world.delta.mean(axis=1), -wins_N))


def exact(world: World, chosen: np.ndarray, num_kept: int) -> float:
    return len(np.intersect1d(chosen, full_order(world)[:num_kept])) / num_kept


def made(delta: np.ndarray) -> World:
    return World(delta.astype(np.float32), np.full(len(delta), 80.0), np.full(delta.shape[1], 75.0))


@dataclasses.dataclass
class Race:
    """A race step by step, with rows that were seen in any order of parts."""

    world: World
    settings: RaceSettings
    hash_N: np.ndarray

    def __post_init__(self) -> None:
        self.stage_N = np.zeros(len(self.world.delta), np.int64)
        self.blocks: list[np.ndarray] = []
        self.parts: list[SeenPart] = []

    def plan(self) -> RacePlan:
        entrants = Entrants(self.hash_N, self.world.demo_tokens, self.world.anchor_tokens)
        return plan(entrants, Seen(self.stage_N, self.blocks, lambda: self.parts), self.settings)

    def answer(self, step: RacePlan) -> None:
        if step.block is not None:
            self.blocks = [*self.blocks, step.block]
        for ask in step.asks:
            self.parts.append(
                SeenPart(ask.rows, ask.anchors, self.world.ask(ask.rows, ask.anchors))
            )
            self.stage_N[ask.rows] = ALL if step.target is None else step.target

    def run(self) -> RacePlan:
        step = self.plan()
        while step.asks:
            self.answer(step)
            step = self.plan()
        return step


def start(world: World, top_k: int, **settings: float) -> Race:
    hash_N = np.random.default_rng(5).permutation(len(world.delta)).astype(np.uint64)
    return Race(world, RaceSettings(top_k, **settings), hash_N)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", WORLDS)
def test_it_keeps_what_it_promises_on_average_and_costs_less(kind: str) -> None:
    kept, promised = [], []
    for seed in range(6):
        world = WORLDS[kind](NUM_CANDIDATES, 100, seed)
        result = race_world(world, 40)
        kept.append(exact(world, result["chosen"], 40))
        promised.append(result["expected_recall"])
        assert world.passes < world.delta.size
    assert np.mean(kept) >= np.mean(promised) - 0.02
    assert np.mean(promised) >= 0.97


def test_without_loss_nothing_is_left_behind_that_could_win_by_counting() -> None:
    world = WORLDS["factor"](500, 60, 1)
    race = start(world, 25, max_loss=0.0)
    step = race.run()
    assert step.fitted is not None
    assert set(step.fitted.ranked()[:25]) == set(full_order(world)[:25])


def test_rows_and_anchors_in_another_order_change_nothing() -> None:
    world = WORLDS["factor"](600, 80, 2)
    race = start(world, 20)
    chosen = race.run().fitted.ranked()[:20]  # type: ignore[union-attr]
    rows = np.random.default_rng(1).permutation(600)
    other_world = World(world.delta[rows], world.demo_tokens[rows], world.anchor_tokens)
    other = Race(other_world, race.settings, race.hash_N[rows])
    again = other.run().fitted.ranked()[:20]  # type: ignore[union-attr]
    assert set(rows[again]) == set(chosen)
    assert other_world.passes == world.passes


def test_a_plan_made_again_from_what_was_seen_is_the_same() -> None:
    race = start(WORLDS["factor"](600, 80, 3), 20)
    for _ in range(4):
        race.answer(race.plan())
    race.parts = race.parts[::-1]
    first = race.plan()
    race.parts = race.parts[::-1]
    second = race.plan()
    assert [ask.rows.tolist() for ask in first.asks] == [ask.rows.tolist() for ask in second.asks]
    assert np.array_equal(first.block, second.block)


def test_rows_added_afterwards_are_raced_and_the_promise_is_kept() -> None:
    whole = WORLDS["factor"](1200, 80, 4)
    part = World(whole.delta[:800], whole.demo_tokens[:800], whole.anchor_tokens)
    race = start(part, 24)
    race.hash_N = np.random.default_rng(5).permutation(1200)[:800].astype(np.uint64)
    race.run()
    grown = start(whole, 36)
    grown.hash_N = np.random.default_rng(5).permutation(1200).astype(np.uint64)
    grown.stage_N[:800], grown.blocks, grown.parts = race.stage_N, race.blocks, race.parts
    step = grown.run()
    assert exact(whole, step.fitted.ranked()[:36], 36) >= 0.9  # type: ignore[union-attr]
    assert step.report.expected_recall is not None and step.report.expected_recall >= 0.96


def test_a_larger_top_goes_on_from_where_the_smaller_ended() -> None:
    world = WORLDS["factor"](800, 80, 5)
    race = start(world, 8)
    race.run()
    before = world.passes
    race.settings = RaceSettings(80)
    step = race.run()
    alone = WORLDS["factor"](800, 80, 5)
    start(alone, 80).run()
    assert exact(world, step.fitted.ranked()[:80], 80) >= 0.95  # type: ignore[union-attr]
    assert before < world.passes < 1.3 * alone.passes


DEGENERATE = {
    "all alike": np.tile(np.random.default_rng(0).normal(size=(1, 60)), (450, 1)),
    "all zero": np.zeros((450, 60)),
    "one anchor again and again": np.tile(np.random.default_rng(0).normal(size=(450, 1)), (1, 60)),
    "anchors won by all or none": np.where(np.arange(60) % 2, 1.0, -1.0)
    + 1e-3 * np.random.default_rng(0).normal(size=(450, 60)),
}


@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.parametrize("top_k", [1, 20, 450])
def test_odd_matrices_are_raced_to_an_end(name: str, top_k: int) -> None:
    world = made(DEGENERATE[name])
    step = start(world, top_k).run()
    assert step.fitted is not None
    ranked = step.fitted.ranked()
    wins_N = np.count_nonzero(world.delta > 0, axis=1)
    assert len(ranked) >= min(top_k, 450)
    assert wins_N[ranked[:top_k]].min() == wins_N[full_order(world)[top_k - 1]]


@pytest.mark.parametrize(("num_candidates", "num_anchors"), [(60, 50), (450, 10)])
def test_a_pilot_of_all_rows_and_few_anchors_end_too(num_candidates: int, num_anchors: int) -> None:
    world = made(np.random.default_rng(0).normal(size=(num_candidates, num_anchors)))
    step = start(world, 5, pilot=64).run()
    assert exact(world, step.fitted.ranked()[:5], 5) >= 0.8  # type: ignore[union-attr]


def test_identical_rows_share_their_fate() -> None:
    world = WORLDS["factor"](600, 60, 6)
    best = full_order(world)[:10]
    world.delta[best[5]] = world.delta[best[4]]
    chosen = start(world, 30).run().fitted.ranked()[:30]  # type: ignore[union-attr]
    assert {best[4], best[5]} <= set(chosen)


def test_a_row_that_is_its_own_anchor_is_scaled_up_not_favoured() -> None:
    world = WORLDS["factor"](600, 60, 7)
    own = np.arange(20)
    world.delta[own, own] = np.nan
    step = start(world, 30).run()
    assert step.fitted is not None
    wins_N = np.nansum(world.delta > 0, axis=1)
    share_N = wins_N / np.sum(~np.isnan(world.delta), axis=1)
    chosen = step.fitted.ranked()[:30]
    assert share_N[chosen].min() >= np.sort(share_N)[-34]
    complete = np.flatnonzero(race_is_complete(step))
    assert np.allclose(step.fitted.win_share(complete), share_N[complete])


def race_is_complete(step: RacePlan) -> np.ndarray:
    assert step.fitted is not None
    is_complete: np.ndarray = step.fitted.seen.stage_N == ALL
    return is_complete


def test_a_threshold_needs_no_search_for_the_cut_off() -> None:
    world = WORLDS["factor"](800, 100, 8)
    wins_N = np.count_nonzero(world.delta > 0, axis=1)
    bar = int(np.sort(wins_N)[-30])
    step = start(world, 30, min_wins=float(bar)).run()
    assert step.report.cutoff == bar
    reached = np.flatnonzero(wins_N >= bar)
    assert np.isin(reached, step.fitted.complete).mean() >= 0.93  # type: ignore[union-attr]


def test_a_left_behind_row_can_come_back() -> None:
    num_back = []
    for seed in range(4):
        race = start(WORLDS["factor"](1500, 100, seed), 30)
        step = race.plan()
        while step.asks:
            num_back.append(step.report.num_back)
            race.answer(step)
            step = race.plan()
    assert max(num_back) > 0


@pytest.mark.parametrize(
    ("num_candidates", "num_anchors", "top_k", "word"),
    [(300, 100, 10, "candidates"), (5000, 30, 50, "anchors"), (1000, 100, 400, "30%")],
)
def test_where_nothing_is_to_gain_it_says_why(
    num_candidates: int, num_anchors: int, top_k: int, word: str
) -> None:
    assert word in str(why_full(num_candidates, num_anchors, top_k))
    assert why_full(5000, 100, 250) is None
