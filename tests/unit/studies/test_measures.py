"""What ranks rows: small cases by hand."""

import numpy as np
from studied_run import factor_deltas

from nuggets_ray.studies.measures import (
    MEASURES,
    Ranking,
    golden_score,
    of_standardised_delta,
    posterior_score,
)

DELTA = np.array([[0.1, -0.2, 0.0], [0.3, 0.1, np.nan], [-0.1, 0.3, 0.2]], np.float32)


def test_the_golden_score_is_the_share_of_wins_among_the_anchors_that_are_known() -> None:
    ranking = golden_score(DELTA)
    np.testing.assert_allclose(ranking.score_N, [1 / 3, 1.0, 2 / 3])
    np.testing.assert_allclose(ranking.tie_N, [-0.1 / 3, 0.2, 0.4 / 3], atol=1e-7)


def test_a_standardised_delta_is_in_spreads_of_its_anchor() -> None:
    delta = np.array([[1.0, 10.0, 5.0], [3.0, 30.0, 5.0]])
    ranking = of_standardised_delta(delta)
    np.testing.assert_allclose(ranking.score_N, [1.0, 3.0])  # spreads 1 and 10; the third has none


def test_equal_scores_are_told_apart_by_the_tie_break_and_counted() -> None:
    ranking = Ranking(np.array([0.5, 0.9, 0.5, 0.5]), np.array([0.1, 0.0, 0.3, 0.2]))
    assert ranking.top(3).tolist() == [1, 2, 3]
    assert ranking.num_tied(2) == 3 and ranking.num_tied(1) == 1


def test_the_posterior_takes_rows_and_anchors_enough() -> None:
    assert posterior_score(factor_deltas(200, 20)) is None
    assert posterior_score(factor_deltas(50, 60)) is None
    ranking = posterior_score(factor_deltas(150, 60))
    assert ranking is not None and np.all((ranking.score_N >= 0) & (ranking.score_N <= 1))
    golden = golden_score(factor_deltas(150, 60))
    assert np.corrcoef(ranking.score_N, golden.score_N)[0, 1] > 0.9


def test_the_measures_are_those_of_the_selection() -> None:
    assert list(MEASURES) == ["golden_score", "standardised_delta", "posterior_score"]
