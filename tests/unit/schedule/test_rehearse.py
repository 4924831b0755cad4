"""A race in a world that is all known."""

import numpy as np

from nuggets_ray.bench.worlds import WORLDS
from nuggets_ray.schedule.rehearse import race_world


def test_a_rehearsal_asks_less_than_all_and_finds_most_of_the_best() -> None:
    world = WORLDS["factor"](600, 80, 2)
    result = race_world(world, 30)
    wins_N = np.count_nonzero(world.delta > 0, axis=1)
    best = np.lexsort((-world.delta.mean(axis=1), -wins_N))[:30]
    assert world.passes < 600 * 80 and world.rounds > 2
    assert len(np.intersect1d(result["chosen"], best)) >= 25
    assert 0.9 <= result["expected_recall"] <= 1


def test_another_seed_is_another_pilot() -> None:
    asked = []
    for seed in range(2):
        world = WORLDS["factor"](600, 80, 2)
        race_world(world, 30, seed=seed)
        asked.append(world.tokens)
    assert asked[0] != asked[1]
