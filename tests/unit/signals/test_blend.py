"""Rank blends, worked by hand."""

import numpy as np
import pytest

from nuggets_ray.signals.blend import blend

VALUES = {"a": np.array([1.0, 2.0, 30.0]), "b": np.array([5.0, 5.0, 0.0])}


def test_weighted_means_of_ranks_whatever_the_units() -> None:
    # ranks of a: 0, 0.5, 1; of b: 0.75, 0.75, 0
    assert blend(VALUES, {"a": 1.0}) == pytest.approx([0, 0.5, 1])
    assert blend(VALUES, {"a": 3.0, "b": 1.0}) == pytest.approx([0.1875, 0.5625, 0.75])


def test_a_negative_weight_turns_a_signal_round() -> None:
    assert blend(VALUES, {"a": -1.0}) == pytest.approx([0, -0.5, -1])


def test_rows_without_one_of_the_signals_have_no_blend_and_take_no_rank() -> None:
    values = VALUES | {"b": np.array([5.0, np.nan, 0.0])}
    blended = blend(values, {"a": 1.0, "b": 1.0})
    assert np.isnan(blended[1]) and blended[[0, 2]] == pytest.approx([0.5, 0.5])
