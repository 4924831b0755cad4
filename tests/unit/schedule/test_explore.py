"""Explore: every row meets a few anchors, whatever was seen before; a race goes on from there."""

import logging
from pathlib import Path

import numpy as np
import pytest
from race_steps import Race, share_kept, start_race

from nuggets_ray.bench.worlds import WORLDS, RaceWorld
from nuggets_ray.config.schema import RaceConfig, SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.run.explored import is_explored
from nuggets_ray.run.manifest import Run, read_manifest
from nuggets_ray.schedule.explore import (
    begin_explore,
    check_explore,
    explore_cost,
    explore_settings,
    plan_explore,
    record_explore,
    why_not_explore,
)
from nuggets_ray.schedule.posterior import PosteriorScores, posterior_of_run
from nuggets_ray.schedule.race import RaceSettings, plan_rest
from nuggets_ray.schedule.race_cost import Sizes
from nuggets_ray.schedule.seen import ALL

NUM_ROWS, NUM_ANCHORS, TOP_K, NUM_MET = 900, 100, 45, 25
SETTINGS = RaceSettings(TOP_K, pilot=100)


def explore(race: Race, num_met: int = NUM_MET) -> int:
    """Explore to the end; the number of barriers."""
    num_barriers = 0
    while (
        step := plan_explore(race.entrants, race.seen, RaceSettings(TOP_K, pilot=100), num_met)
    ).asks:
        race.answer(step)
        num_barriers += 1
    race.num_barriers = 0
    return num_barriers


def started(seed: int = 0, num_rows: int = NUM_ROWS) -> Race:
    return start_race(WORLDS["factor"](num_rows, NUM_ANCHORS, seed), RaceSettings(TOP_K))


def posterior_order(race: Race) -> np.ndarray:
    scores = posterior_of_run(race.entrants, race.seen, SETTINGS)
    assert isinstance(scores, PosteriorScores)
    assert np.isfinite(scores.score_N).all()
    return np.argsort(-scores.score_N, kind="stable")


def test_the_pilot_meets_all_and_every_other_row_as_many_as_are_asked_for() -> None:
    race = started()
    assert explore(race) == 2
    pilot = np.argsort(race.hash_N)[:100]
    assert (race.stage_N[pilot] == ALL).all() and (np.delete(race.stage_N, pilot) == 1).all()
    assert [len(block) for block in race.blocks] == [NUM_MET]
    cost = explore_cost(Sizes(NUM_ROWS, NUM_ANCHORS, 80.0, 75.0), SETTINGS, NUM_MET)
    assert race.world.passes == cost.passes == 100 * NUM_ANCHORS + 800 * NUM_MET
    assert cost.tokens == NUM_ROWS * 80 + cost.passes * 75
    assert explore(race) == 0


def test_it_ranks_better_than_as_many_anchors_at_random() -> None:
    kept, kept_of_random = [], []
    for seed in range(4):
        race = started(seed)
        explore(race)
        kept.append(share_kept(race.world, posterior_order(race)[:TOP_K], TOP_K))
        rng = np.random.default_rng(seed)
        some = race.world.delta[:, rng.choice(NUM_ANCHORS, NUM_MET, replace=False)]
        by_share = np.lexsort((-some.mean(axis=1), -np.count_nonzero(some > 0, axis=1)))
        kept_of_random.append(share_kept(race.world, by_share[:TOP_K], TOP_K))
    assert np.mean(kept) > np.mean(kept_of_random) + 0.05


def test_a_larger_number_goes_on_and_more_rows_meet_the_recorded_block() -> None:
    race = started()
    explore(race, 10)
    explore(race, 25)
    assert [len(block) for block in race.blocks] == [10, 15]
    assert explore(race, 25) == explore(race, 12) == 0
    rows = np.random.default_rng(1).permutation(NUM_ROWS)[:20]
    rows = rows[race.stage_N[rows] != ALL]
    race.stage_N[rows] = 0  # as if they had been added since
    race.parts = [part for part in race.parts if not np.isin(part.rows, rows).any()]
    step = plan_explore(race.entrants, race.seen, SETTINGS, 25)
    assert step.block is None and step.target == 2
    assert np.array_equal(np.sort(step.asks[0].rows), np.sort(rows))
    assert np.array_equal(step.asks[0].anchors, np.concatenate(race.blocks))


@pytest.mark.parametrize("num_met", [8, NUM_MET])
def test_a_race_goes_on_from_it_and_keeps_its_promise_without_computing_a_pair_again(
    num_met: int,
) -> None:
    race = started(3)
    explore(race, num_met)
    explored, num_blocks = race.world.passes, len(race.blocks)
    step = race.run()
    assert step.fitted is not None and step.report.expected_recall is not None
    assert len(race.blocks) > num_blocks and all(len(block) for block in race.blocks)
    met = np.concatenate(race.blocks)
    assert len(np.unique(met)) == len(met) <= NUM_ANCHORS
    kept = share_kept(race.world, step.fitted.ranked()[:TOP_K], TOP_K)
    assert kept >= step.report.expected_recall - 0.05
    assert race.world.passes < 0.75 * race.world.delta.size
    alone = started(3)
    alone.run()
    assert race.world.passes <= alone.world.passes + explored
    while (rest := plan_rest(race.entrants, race.seen)).asks:
        race.answer(rest)
    assert race.world.passes == race.world.delta.size


def test_after_a_race_rows_that_were_left_behind_are_brought_up_to_the_number() -> None:
    race = started(1)
    race.run()
    before, complete = race.world.passes, np.count_nonzero(race.stage_N == ALL)
    explore(race, 30)
    assert race.world.passes > before
    assert np.count_nonzero(race.stage_N == ALL) >= complete
    ends = np.cumsum([0, *map(len, race.blocks)])
    assert (ends[race.stage_N[race.stage_N != ALL]] >= 30).all()


def test_rows_in_another_order_change_nothing() -> None:
    race = started(2)
    explore(race)
    rows = np.random.default_rng(1).permutation(NUM_ROWS)
    world = RaceWorld(
        race.world.delta[rows], race.world.demo_tokens[rows], race.world.anchor_tokens
    )
    other = Race(world, race.settings, race.hash_N[rows])
    explore(other)
    assert np.array_equal(other.blocks[0], race.blocks[0])
    assert set(rows[posterior_order(other)[:TOP_K]]) == set(posterior_order(race)[:TOP_K])


def test_the_pilot_is_large_enough_for_posterior_scores() -> None:
    fraction = SelectConfig("top_fraction", fraction=0.1)
    assert explore_settings(RaceConfig(), fraction, 900) == RaceSettings(90, pilot=100)
    assert explore_settings(RaceConfig(pilot=300), fraction, 900).pilot == 300
    assert explore_settings(RaceConfig(), fraction, 30_000).pilot == 256
    assert explore_settings(RaceConfig(top_k=7), fraction, 900).top_k == 7
    threshold = SelectConfig("threshold", min_score=0.8, by="posterior_score")
    assert explore_settings(RaceConfig(), threshold, 900).top_k == 45
    with pytest.raises(UserError, match=r"race\.pilot=48: .*at least 100 rows"):
        check_explore(RaceConfig(pilot=48))
    check_explore(RaceConfig(pilot=100))


def test_where_nothing_is_to_gain_it_is_said_why() -> None:
    assert why_not_explore(900, 100, 30) is None
    assert "399 candidates are fewer" in (why_not_explore(399, 100, 30) or "")
    assert "30 anchors are fewer" in (why_not_explore(900, 30, 20) or "")
    assert "explore.num_anchors=60" in (why_not_explore(900, 60, 60) or "")


def test_the_folder_says_from_the_start_that_it_has_no_golden_scores(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    race = started()
    explore(race)
    out_dir = str(tmp_path)
    with Run(out_dir, "score") as run, caplog.at_level(logging.INFO, "nuggets_ray"):
        assert not is_explored(run.manifest)
        begin_explore(run)
        assert is_explored(read_manifest(out_dir) or {})
        run.manifest["race"] = {"top_k": 3}
        record_explore(run, race.entrants, race.seen)
    manifest = read_manifest(out_dir) or {}
    assert is_explored(manifest) and "race" not in manifest
    assert manifest["explore"]["num_anchors_met"] == NUM_MET
    assert manifest["explore"]["num_passes"] == race.world.passes
    assert any("no golden scores" in line for line in caplog.messages)
    assert not is_explored({"explore": {"fell_back": "few"}})
