"""Deltas over their anchors' spread, worked by hand."""

import numpy as np
import pytest

from nuggets_ray.signals.standardised_delta import Spread, standardised_delta

DELTA_NA = np.array([[1.0, 10.0, 0.5], [3.0, 30.0, 0.5]])


def spread(*parts: np.ndarray) -> np.ndarray:
    counted = Spread(parts[0].shape[1])
    for part in parts:
        counted.add(part)
    return counted.sd_A


def test_each_anchor_counts_in_its_own_spread() -> None:
    sd_A = spread(DELTA_NA)
    assert sd_A[:2] == pytest.approx([1.0, 10.0])
    assert np.isnan(sd_A[2]), "it moves for no row"
    assert standardised_delta(DELTA_NA, sd_A) == pytest.approx([1.0, 3.0])


def test_parts_give_the_spread_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    delta_NA = rng.normal(2, 3, (50, 4))
    delta_NA[3, 1] = np.nan
    assert spread(delta_NA[:20], delta_NA[20:]) == pytest.approx(np.nanstd(delta_NA, axis=0))


def test_the_row_itself_as_an_anchor_is_left_out_of_its_mean() -> None:
    delta_NA = np.array([[np.nan, 4.0], [np.nan, np.nan]])
    values = standardised_delta(delta_NA, np.array([1.0, 2.0]))
    assert values[0] == 2.0 and np.isnan(values[1])
