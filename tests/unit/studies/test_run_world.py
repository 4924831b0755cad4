"""More rows like those of a run: win rates, spread of scores and lengths as there."""

import numpy as np
import pytest
from studied_run import factor_deltas

from nuggets_ray.studies.run_world import world_like


def test_the_world_has_the_run_s_win_rates_and_spread_of_scores() -> None:
    delta_NA = factor_deltas(400, 60)
    tokens_N = np.arange(400.0)
    world = world_like(delta_NA, tokens_N, np.full(60, 30.0), 5000, 0)
    assert world.delta.shape == (5000, 60)
    rates, of_run = (world.delta > 0).mean(axis=0), (delta_NA > 0).mean(axis=0)
    assert np.abs(rates - of_run).mean() < 0.03
    scores, of_run_scores = (world.delta > 0).mean(axis=1), (delta_NA > 0).mean(axis=1)
    assert scores.std() == pytest.approx(of_run_scores.std(), rel=0.15)
    assert set(world.demo_tokens) <= set(tokens_N)


def test_what_is_asked_is_counted() -> None:
    world = world_like(factor_deltas(100, 20), np.full(100, 7.0), np.arange(20.0), 50, 0)
    asked = world.ask(np.array([1, 2]), np.array([3, 4, 5]))
    assert asked.shape == (2, 3)
    assert (world.passes, world.tokens) == (6, 2 * 7 + 2 * 12)
    assert world.answer_bytes == 6 * 4
    assert world.full_tokens == 50 * (7 + 190)


def test_the_same_seed_gives_the_same_world() -> None:
    arguments = (factor_deltas(100, 20), np.full(100, 7.0), np.arange(20.0), 50)
    np.testing.assert_array_equal(world_like(*arguments, 3).delta, world_like(*arguments, 3).delta)
    assert not np.array_equal(world_like(*arguments, 3).delta, world_like(*arguments, 4).delta)
