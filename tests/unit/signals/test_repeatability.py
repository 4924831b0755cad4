"""Split halves of anchors."""

import numpy as np
import pytest

from nuggets_ray.signals.repeatability import repeatability


def mean_of(values_NA: np.ndarray):
    return lambda anchors: values_NA[:, anchors].mean(axis=1)


def test_what_all_anchors_say_alike_is_repeatable_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    row_N = rng.normal(size=(400, 1))
    alike = repeatability(mean_of(np.repeat(row_N, 20, axis=1)), 20, seed=0)
    noise = repeatability(mean_of(rng.normal(size=(4000, 20))), 20, seed=0)
    assert alike == pytest.approx(1.0)
    assert noise is not None and noise < 0.15


def test_it_is_that_of_all_anchors_not_of_half_of_them() -> None:
    rng = np.random.default_rng(1)
    # each anchor is the row's own value and as much noise: 10 anchors have reliability 10 / 11
    values_NA = rng.normal(size=(4000, 1)) + rng.normal(size=(4000, 10))
    assert repeatability(mean_of(values_NA), 10, seed=0) == pytest.approx(10 / 11, abs=0.02)


def test_too_little_tells_nothing() -> None:
    values_NA = np.random.default_rng(2).normal(size=(9, 8))
    assert repeatability(mean_of(values_NA), 8, seed=0) is None
    assert repeatability(mean_of(np.ones((50, 8))), 8, seed=0) is None
    assert repeatability(mean_of(np.zeros((50, 3))), 3, seed=0) is None
