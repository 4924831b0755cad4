"""What a race is expected to cost, beside what races in made-up worlds did cost."""

import dataclasses

import numpy as np
import pytest
from race_steps import start_race

from nuggets_ray.bench.worlds import WORLDS
from nuggets_ray.run.funnel import FunnelRound
from nuggets_ray.schedule.race import RaceSettings
from nuggets_ray.schedule.race_cost import (
    Sizes,
    full_cost,
    later_cost,
    race_cost,
    remaining_passes,
    sizes_of,
)

SETTINGS = RaceSettings(50)


def test_full_scoring_reads_every_demonstration_once() -> None:
    cost = full_cost(Sizes(200, 100, 30.0, 20.0))
    assert (cost.passes, cost.tokens, cost.reads) == (20_000, 200 * 30 + 20_000 * 20, 200)


@pytest.mark.parametrize("num_rows", [900, 2500])
def test_the_range_holds_the_cost_of_races_that_were_run(num_rows: int) -> None:
    top_k = num_rows // 20
    for kind in ("factor", "exchangeable"):
        world = WORLDS[kind](num_rows, 100, 7)
        race = start_race(world, RaceSettings(top_k))
        race.run()
        low, high = race_cost(sizes_of(race.entrants), RaceSettings(top_k), top_k)
        told = low if kind == "factor" else high
        assert told.passes == pytest.approx(world.passes, rel=0.4)
        assert told.tokens == pytest.approx(world.tokens, rel=0.4)
        assert low.passes < high.passes < num_rows * 100


def test_more_rows_wanted_cost_more_and_more_anchors_save_more() -> None:
    sizes = Sizes(10_000, 100, 80.0, 60.0)
    few, many = (race_cost(sizes, SETTINGS, k)[0].passes for k in (100, 1000))
    assert few < many
    wide = dataclasses.replace(sizes, num_anchors=1000)
    assert race_cost(wide, SETTINGS, 100)[0].passes / 10 < few
    pilot = dataclasses.replace(SETTINGS, pilot=1000)
    assert race_cost(sizes, pilot, 100)[0].passes > few


def test_what_is_left_falls_with_the_rows_alive_and_ends_at_the_winners() -> None:
    assert remaining_passes(40, 50, 20, 100) == 40 * 80
    assert remaining_passes(50, 50, 20, 100) == 50 * 80
    more = remaining_passes(500, 50, 20, 100)
    assert 50 * 80 < more < 500 * 80


@pytest.mark.parametrize("kind", ["factor", "exchangeable"])
def test_while_a_race_goes_on_what_is_to_come_is_told(kind: str) -> None:
    world = WORLDS[kind](1500, 100, 2)
    race = start_race(world, RaceSettings(75))
    expected = []
    while (step := race.plan()).asks:
        race.answer(step)
        report = step.report
        decided = FunnelRound(
            number=0,
            phase=report.phase,
            num_asked=report.num_live,
            num_left=report.num_left,
            num_back=0,
            num_complete=report.num_complete,
            allowed_loss=0.0,
            expected_loss=0.0,
            expected_recall=None,
            top_k=75,
            num_alive=1500 - report.num_left - report.num_complete,
            num_passes_so_far=world.passes,
        )
        cost = later_cost(race.entrants, race.settings, race.seen, decided, step.target)
        expected.append((world.passes, cost.passes, report.num_left))
    assert expected[-1][1] == 0
    for so_far, later, num_left in expected[:-1]:
        came = world.passes - so_far
        if num_left and later:
            assert later == pytest.approx(came, rel=1.0, abs=0.01 * np.size(world.delta))
        assert later >= 0
