"""The race as a plan: what it promises, and what must not change it."""

import numpy as np
import pytest
from race_steps import Race, full_order, share_kept, start_race

from nuggets_ray.bench.worlds import WORLDS, RaceWorld
from nuggets_ray.schedule.race import RaceSettings, why_full
from nuggets_ray.schedule.rehearse import race_world
from nuggets_ray.schedule.seen import ALL

NUM_CANDIDATES = 800


def made(delta: np.ndarray) -> RaceWorld:
    return RaceWorld(
        delta.astype(np.float32), np.full(len(delta), 80.0), np.full(delta.shape[1], 75.0)
    )


def ranked(race: Race) -> np.ndarray:
    """Race to the end: the complete rows, best first."""
    fitted = race.run().fitted
    assert fitted is not None
    return fitted.ranked()


@pytest.mark.parametrize("kind", WORLDS)
def test_it_keeps_what_it_promises_on_average_and_costs_less(kind: str) -> None:
    kept, promised = [], []
    for seed in range(6):
        world = WORLDS[kind](NUM_CANDIDATES, 100, seed)
        result = race_world(world, 40)
        kept.append(share_kept(world, result["chosen"], 40))
        promised.append(result["expected_recall"])
        assert world.passes < world.delta.size
    assert np.mean(kept) >= np.mean(promised) - 0.02
    assert np.mean(promised) >= 0.97


def test_without_loss_nothing_is_left_behind_that_could_win_by_counting() -> None:
    world = WORLDS["factor"](500, 60, 1)
    race = start_race(world, RaceSettings(25, max_loss=0.0))
    assert set(ranked(race)[:25]) == set(full_order(world)[:25])


def test_rows_in_another_order_change_nothing() -> None:
    world = WORLDS["factor"](600, 80, 2)
    race = start_race(world, RaceSettings(20))
    chosen = ranked(race)[:20]
    rows = np.random.default_rng(1).permutation(600)
    other_world = RaceWorld(world.delta[rows], world.demo_tokens[rows], world.anchor_tokens)
    again = ranked(Race(other_world, race.settings, race.hash_N[rows]))[:20]
    assert set(rows[again]) == set(chosen)
    assert other_world.passes == world.passes


def test_anchors_in_another_order_change_nothing() -> None:
    world = WORLDS["factor"](600, 80, 2)
    chosen = ranked(start_race(world, RaceSettings(20)))[:20]
    anchors = np.random.default_rng(1).permutation(80)
    other = RaceWorld(world.delta[:, anchors], world.demo_tokens, world.anchor_tokens[anchors])
    assert set(ranked(start_race(other, RaceSettings(20)))[:20]) == set(chosen)


def test_a_plan_made_again_from_what_was_seen_is_the_same() -> None:
    race = start_race(WORLDS["factor"](600, 80, 3), RaceSettings(20))
    for _ in range(4):
        race.answer(race.plan())
    first = race.plan()
    race.parts = race.parts[::-1]
    second = race.plan()
    assert [ask.rows.tolist() for ask in first.asks] == [ask.rows.tolist() for ask in second.asks]
    assert np.array_equal(first.block, second.block)


def test_rows_added_afterwards_are_raced_and_the_promise_is_kept() -> None:
    whole = WORLDS["factor"](1200, 80, 4)
    part = RaceWorld(whole.delta[:800], whole.demo_tokens[:800], whole.anchor_tokens)
    grown = start_race(whole, RaceSettings(36))
    race = Race(part, RaceSettings(24), grown.hash_N[:800])
    race.run()
    grown.stage_N[:800], grown.blocks, grown.parts = race.stage_N, race.blocks, race.parts
    step = grown.run()
    assert step.fitted is not None
    assert share_kept(whole, step.fitted.ranked()[:36], 36) >= 0.9
    assert step.report.expected_recall is not None and step.report.expected_recall >= 0.96


def test_a_larger_top_goes_on_from_where_the_smaller_ended() -> None:
    world = WORLDS["factor"](800, 80, 5)
    race = start_race(world, RaceSettings(8))
    race.run()
    before = world.passes
    race.settings, race.num_barriers = RaceSettings(80), 0
    chosen = ranked(race)[:80]
    alone = WORLDS["factor"](800, 80, 5)
    start_race(alone, RaceSettings(80)).run()
    assert share_kept(world, chosen, 80) >= 0.95
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
    chosen = ranked(start_race(world, RaceSettings(top_k)))[:top_k]
    wins_N = np.count_nonzero(world.delta > 0, axis=1)
    assert len(chosen) == top_k
    assert wins_N[chosen].min() == wins_N[full_order(world)[top_k - 1]]


@pytest.mark.parametrize(("num_candidates", "num_anchors"), [(60, 50), (450, 10)])
def test_a_pilot_of_all_rows_and_few_anchors_end_too(num_candidates: int, num_anchors: int) -> None:
    world = made(np.random.default_rng(0).normal(size=(num_candidates, num_anchors)))
    chosen = ranked(start_race(world, RaceSettings(5, pilot=64)))[:5]
    assert share_kept(world, chosen, 5) >= 0.8


def test_identical_rows_share_their_fate() -> None:
    world = WORLDS["factor"](600, 60, 6)
    best = full_order(world)[:10]
    world.delta[best[5]] = world.delta[best[4]]
    assert {best[4], best[5]} <= set(ranked(start_race(world, RaceSettings(30)))[:30])


def test_a_row_that_is_its_own_anchor_is_scaled_up_not_favoured() -> None:
    world = WORLDS["factor"](600, 60, 7)
    own = np.arange(20)
    world.delta[own, own] = np.nan
    step = start_race(world, RaceSettings(30)).run()
    assert step.fitted is not None
    wins_N = np.count_nonzero(world.delta > 0, axis=1)
    share_N = wins_N / np.sum(~np.isnan(world.delta), axis=1)
    assert share_N[step.fitted.ranked()[:30]].min() >= np.sort(share_N)[-34]
    complete = np.flatnonzero(step.fitted.seen.stage_N == ALL)
    assert np.allclose(step.fitted.win_share(complete), share_N[complete])


def test_a_threshold_needs_no_search_for_the_cut_off() -> None:
    world = WORLDS["factor"](800, 100, 8)
    wins_N = np.count_nonzero(world.delta > 0, axis=1)
    bar = int(np.sort(wins_N)[-30])
    step = start_race(world, RaceSettings(min_score=(bar - 1) / 100)).run()
    assert step.fitted is not None
    assert step.report.cutoff == bar
    assert np.isin(np.flatnonzero(wins_N >= bar), step.fitted.complete).mean() >= 0.93
    assert step.report.top_k == pytest.approx(np.count_nonzero(wins_N >= bar), abs=2)
    assert world.passes < 0.6 * world.delta.size


def test_scores_strictly_above_a_threshold_are_wanted() -> None:
    assert RaceSettings(min_score=0.8).min_wins(100) == 81
    assert RaceSettings(min_score=0.29).min_wins(100) == 30
    assert RaceSettings(min_score=0.805).min_wins(100) == 81
    assert RaceSettings(20).min_wins(100) is None


def test_a_threshold_that_nothing_or_a_third_reaches_is_raced_to_an_end() -> None:
    world = WORLDS["factor"](600, 60, 3)
    none = start_race(world, RaceSettings(min_score=0.999)).run()
    assert none.fitted is not None and none.report.top_k == 1
    assert len(none.fitted.complete) < 150
    median = float(np.median((world.delta > 0).mean(axis=1)))
    half = start_race(world, RaceSettings(min_score=median)).run()
    assert half.fitted is not None and len(half.fitted.complete) == 600


@pytest.mark.parametrize("kind", WORLDS)
@pytest.mark.parametrize("num_blocks", [2, 5])
def test_barriers_are_three_more_than_blocks_at_most(kind: str, num_blocks: int) -> None:
    for seed in range(4):
        race = start_race(WORLDS[kind](500, 60, seed), RaceSettings(15, num_blocks=num_blocks))
        race.run()
        assert race.num_barriers <= num_blocks + 3


def test_a_left_behind_row_can_come_back() -> None:
    num_back = []
    for seed in range(4):
        race = start_race(WORLDS["factor"](1500, 100, seed), RaceSettings(30))
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
