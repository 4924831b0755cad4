"""What is expected of rows that are not complete."""

import numpy as np
import pytest
from race_steps import full_order, start_race

from nuggets_ray.bench.worlds import WORLDS
from nuggets_ray.schedule.forecast import forecast, read
from nuggets_ray.schedule.race import RaceSettings
from nuggets_ray.schedule.seen import ALL


def test_the_forecast_of_final_wins_covers_what_comes() -> None:
    world = WORLDS["factor"](1500, 100, 0)
    race = start_race(world, RaceSettings(75))
    for _ in range(4):
        race.answer(race.plan())
    fitted = read(race.entrants, race.seen, np.flatnonzero(race.stage_N == ALL))
    ahead = forecast(fitted, 75, None)
    wins_N = np.count_nonzero(world.delta > 0, axis=1)[ahead.rows]
    z_I = (wins_N + 0.5 - ahead.mean_I) / ahead.spread_I
    assert np.mean(np.abs(z_I) < 1.96) == pytest.approx(0.95, abs=0.04)
    winners = np.isin(ahead.rows, full_order(world)[:75])
    assert ahead.probability_I[winners].mean() > 5 * ahead.probability_I[~winners].mean()
    assert 1 <= ahead.kappa <= 2


def test_each_row_s_numbers_are_those_of_its_deltas() -> None:
    world = WORLDS["factor"](500, 60, 1)
    race = start_race(world, RaceSettings(25))
    for _ in range(3):
        race.answer(race.plan())
    fitted = read(race.entrants, race.seen, np.flatnonzero(race.stage_N == ALL))
    row = int(np.flatnonzero(race.stage_N == race.stage_N.max())[0])
    met = race.seen.met(int(race.stage_N[row]), 60)
    assert fitted.wins_N[row] == np.count_nonzero(world.delta[row, met] > 0)
    assert fitted.num_seen_N[row] == len(met)
    assert fitted.mean_delta(np.array([row]))[0] == pytest.approx(
        world.delta[row, met].mean(), abs=1e-6
    )
