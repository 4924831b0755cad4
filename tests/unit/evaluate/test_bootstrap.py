"""Bootstrap intervals: seeded, and as wide as theory has it."""

import numpy as np

from nuggets_ray.evaluate.bootstrap import draw_counts, mean_interval


def test_each_draw_has_as_many_prompts() -> None:
    counts = draw_counts(7, 50, seed=1)
    assert counts.shape == (50, 7)
    assert (counts.sum(axis=1) == 7).all()


def test_the_interval_is_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, size=400)
    found = mean_interval(values, seed=0)
    half_width = 1.96 * values.std() / np.sqrt(len(values))
    assert found is not None
    np.testing.assert_allclose(
        found, [values.mean() - half_width, values.mean() + half_width], atol=0.1 * half_width
    )


def test_the_seed_decides() -> None:
    values = np.arange(20.0)
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3)
    assert mean_interval(values, seed=3) != mean_interval(values, seed=4)


def test_one_value_has_no_interval() -> None:
    assert mean_interval(np.array([1.0]), seed=0) is None
