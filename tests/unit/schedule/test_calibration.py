"""How stated spreads are held against what came."""

import numpy as np
import pytest
from race_steps import start_race

from nuggets_ray.bench.worlds import WORLDS
from nuggets_ray.schedule.calibration import coverage, held_out_coverage
from nuggets_ray.schedule.race import RaceSettings


def test_right_spreads_cover_and_small_ones_are_doubted() -> None:
    rng = np.random.default_rng(0)
    mean_n, wins_n = np.zeros(2000), rng.normal(0, 3, 2000)
    right = coverage(mean_n, np.full(2000, 3.0), wins_n)
    assert right is not None and right.covered == pytest.approx(0.95, abs=0.02)
    assert right.squared_error == pytest.approx(1, abs=0.1) and not right.is_doubtful
    small = coverage(mean_n, np.full(2000, 1.5), wins_n)
    assert small is not None and small.is_doubtful
    assert small.squared_error == pytest.approx(4, abs=0.4)
    few = coverage(np.zeros(4), np.ones(4), np.array([0.1, 0.2, 0.3, 9.0]))
    assert few is not None and few.covered == 0.75 and not few.is_doubtful
    assert coverage(mean_n[:0], mean_n[:0], mean_n[:0]) is None


def test_bias_is_what_came_less_what_was_predicted() -> None:
    told = coverage(np.full(50, 10.0), np.ones(50), np.full(50, 12.0))
    assert told is not None and told.bias_wins == 2 and told.covered == 0


@pytest.mark.parametrize("kind", list(WORLDS))
def test_held_out_rows_of_the_pilot_are_covered_as_stated(kind: str) -> None:
    race = start_race(WORLDS[kind](600, 80, 0), RaceSettings(30))
    for _ in range(4):
        step = race.plan()
        race.answer(step)
    assert step.fitted is not None
    pilot = step.fitted.pilot_delta_PM
    told = held_out_coverage(pilot, race.blocks, 1.0)
    assert told is not None and told.num_predictions == len(pilot) * len(race.blocks)
    assert 0.85 < told.covered < 1 and abs(told.bias_wins) < 3
    wide = held_out_coverage(pilot, race.blocks, 2.0)
    assert wide is not None and wide.covered >= told.covered
    assert held_out_coverage(pilot, [], 1.0) is None
