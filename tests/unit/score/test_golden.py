"""The golden score against its definition: strict wins, self-pairs left out, nothing made up."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuggets_ray.score.golden import golden_score, wilson_interval


def test_a_tie_is_no_win():
    score = golden_score(np.array([-1.0, -2.0, -3.0]), np.array([-1.5, -2.0, -2.5]), None)
    assert (score.num_wins, score.num_anchors) == (1, 3)
    assert score.golden_score == pytest.approx(1 / 3)
    assert score.mean_delta == pytest.approx(0.0)


def test_the_self_pair_is_left_out_of_every_number():
    one_shot, zero_shot = np.array([-0.1, -2.0, -2.0]), np.array([-3.0, -3.0, -1.0])
    score = golden_score(one_shot, zero_shot, 0)
    assert (score.num_wins, score.num_anchors, score.golden_score) == (1, 2, 0.5)
    assert score.mean_delta == pytest.approx(0.0)


def test_a_self_pair_that_is_not_finite_does_not_matter():
    score = golden_score(np.array([np.nan, -1.0]), np.array([-1.0, -2.0]), 0)
    assert score.golden_score == 1.0


def test_near_ties_are_the_deltas_within_the_band_the_self_pair_left_out():
    one_shot, zero_shot = np.array([-1.0, -1.25, -2.0, -3.0, -1.0]), np.full(5, -1.5)
    score = golden_score(one_shot, zero_shot, 4, noise_band_nats=0.5)
    assert (score.num_near_ties, score.num_wins, score.num_anchors) == (3, 2, 4)
    assert golden_score(zero_shot, zero_shot, 4).num_near_ties == 4
    band_A = np.where(one_shot < zero_shot, 0.5, 0.0)  # of each anchor its own
    assert golden_score(one_shot, zero_shot, 4, band_A).num_near_ties < 3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_log_prob_that_is_not_finite_raises(bad):
    with pytest.raises(ValueError, match="finite"):
        golden_score(np.array([-1.0, bad]), np.array([-1.0, -1.0]), None)
    with pytest.raises(ValueError, match="finite"):
        golden_score(np.array([-1.0, -1.0]), np.array([bad, -1.0]), None)


def test_no_anchor_left_raises():
    with pytest.raises(ValueError, match="no anchor"):
        golden_score(np.array([-1.0]), np.array([-1.0]), 0)


def test_shapes_that_differ_raise():
    with pytest.raises(ValueError, match="shapes"):
        golden_score(np.zeros(3), np.zeros(1), None)


def test_the_interval_is_wilsons():
    # 80 of 100: the published 95% Wilson interval.
    low, high = wilson_interval(80, 100)
    assert (round(low, 4), round(high, 4)) == (0.7112, 0.8666)


@given(st.integers(1, 2000), st.data())
def test_the_interval_holds_the_share_and_stays_a_share(num_anchors, data):
    num_wins = data.draw(st.integers(0, num_anchors))
    low, high = wilson_interval(num_wins, num_anchors)
    assert 0.0 <= low <= num_wins / num_anchors + 1e-12
    assert num_wins / num_anchors - 1e-12 <= high <= 1.0
    assert high - low < 2 * 1.96 * math.sqrt(0.25 / num_anchors) + 1e-9
