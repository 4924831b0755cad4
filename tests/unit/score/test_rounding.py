"""The rounding noise of anchors, from a few candidates in two dtypes."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_candidates import make_anchor

from nuggets_ray.score.rounding import (
    known_noise,
    noise_bands,
    num_candidates,
    rounding_noise,
    with_noise,
)

NUM_ANCHORS = 400


def measured(true_A: np.ndarray, num_candidates: int, seed: int = 0) -> np.ndarray:
    """The noise of anchors whose deltas are moved by `true_A`, half of the variance on each
    side."""
    rng = np.random.default_rng(seed)
    exact_zero_A = rng.normal(-2, 1, len(true_A))
    exact_CA = exact_zero_A + rng.normal(0, 0.3, (num_candidates, len(true_A)))
    side_A = true_A / np.sqrt(2)
    zero_A = exact_zero_A + side_A * rng.choice([-1, 1], len(true_A))
    one_CA = exact_CA + side_A * rng.standard_normal(exact_CA.shape)
    noise_A = rounding_noise(zero_A, one_CA, exact_zero_A, exact_CA)
    assert noise_A is not None
    return noise_A


def test_the_noise_that_was_put_in_is_found() -> None:
    true_A = np.geomspace(0.004, 0.1, NUM_ANCHORS)
    noise_A = measured(true_A, 8)
    assert np.median(noise_A / true_A) == pytest.approx(1, abs=0.1)
    assert np.quantile(np.abs(np.log(noise_A / true_A)), 0.9) < 0.5
    assert np.corrcoef(np.log(noise_A), np.log(true_A))[0, 1] > 0.9


def test_equal_anchors_stay_equal_though_few_candidates_make_them_differ() -> None:
    noise_A = measured(np.full(NUM_ANCHORS, 0.02), 4)
    assert noise_A.mean() == pytest.approx(0.02, rel=0.1)
    assert noise_A.std() < 0.1 * noise_A.mean()


def test_what_has_no_scored_token_has_no_noise_and_what_is_not_finite_is_left_out() -> None:
    zero_A, exact_A = np.array([0.0, -1.0]), np.array([0.0, -1.01])
    one_CA = np.array([[0.0, -2.0], [np.nan, np.nan]])
    noise_A = rounding_noise(zero_A, one_CA, exact_A, one_CA)
    assert noise_A is not None and noise_A[0] == 0 and noise_A[1] > 0
    assert rounding_noise(zero_A, one_CA[1:], exact_A, one_CA[1:]) is None


def test_the_band_is_of_each_anchor_and_the_constant_where_nothing_was_measured() -> None:
    anchors = [make_anchor("a"), make_anchor("b")]
    assert np.isnan(known_noise(anchors)).all()
    assert noise_bands(anchors, "bfloat16").tolist() == [0.054, 0.054]
    known = [*with_noise(anchors, np.array([0.01, 0.0])), replace(anchors[0])]
    assert noise_bands(known, "bfloat16") == pytest.approx([0.024, 1e-4, 0.054])
    assert noise_bands(known[1:2], "float32").tolist() == [1e-4]


def test_the_cost_is_bounded() -> None:
    assert [num_candidates(num) for num in (1, 100, 200, 400, 1000)] == [8, 8, 8, 4, 4]
