"""Split halves of anchors."""

import numpy as np
import pytest

from nuggets_ray.signals.repeatability import repeatability, spearman_brown


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


def test_spearman_brown_is_that_of_sums_of_parallel_halves() -> None:
    rng = np.random.default_rng(0)
    truth_N = rng.standard_normal((20_000, 1))
    parts_NA = truth_N + 2 * rng.standard_normal((20_000, 40))
    two = [parts_NA[:, start : start + 5].mean(1) for start in (0, 5)]
    twenty = [parts_NA[:, start : start + 20].mean(1) for start in (0, 20)]
    predicted = spearman_brown(float(np.corrcoef(*two)[0, 1]), 4)
    assert predicted == pytest.approx(np.corrcoef(*twenty)[0, 1], abs=0.01)
    assert spearman_brown(-0.2, 3) == 0
