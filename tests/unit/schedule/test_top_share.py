"""The cut-off and the probabilities, against counting in simulated rows."""

import numpy as np
import pytest

from nuggets_ray.schedule.top_share import (
    Totals,
    find_cutoff,
    fit_prior,
    moments,
    probabilities,
)

VARIANCE = 0.3


def rows_of(eta_N: np.ndarray, seed: int = 0) -> tuple[Totals, np.ndarray]:
    """Rows that know eta with posterior variance 0.3; and final wins 50 + 10 eta + noise."""
    rng = np.random.default_rng(seed)
    s2 = VARIANCE / (1 - VARIANCE)
    along_N = (1 - VARIANCE) * (eta_N + np.sqrt(s2) * rng.standard_normal(len(eta_N)))
    wins_N = 50 + 10 * eta_N + 2 * rng.standard_normal(len(eta_N))
    size = np.ones(len(eta_N))
    return Totals(50 + 10 * along_N, 10 * size, 2 * size, along_N, VARIANCE * size), wins_N


def skewed(num_rows: int, seed: int = 1) -> np.ndarray:
    """A prior with a short upper tail: standard, but no Gaussian."""
    return -(np.random.default_rng(seed).gamma(2.0, 1.0, num_rows) - 2.0) / np.sqrt(2.0)


def test_the_prior_follows_the_rows_where_a_gaussian_would_not() -> None:
    totals, wins_N = rows_of(skewed(20_000))
    prior = fit_prior([(totals.along_N, VARIANCE)])
    cutoff = find_cutoff(totals, prior, np.zeros(0), 200)
    assert np.count_nonzero(wins_N >= cutoff) == pytest.approx(200, abs=90)
    gaussian = np.sort(totals.center_N + np.random.default_rng(0).normal(0, 5.8, 20_000))[-200]
    assert abs(cutoff - np.sort(wins_N)[-200]) < abs(gaussian - np.sort(wins_N)[-200])


def test_probabilities_sum_to_the_number_asked_and_are_calibrated() -> None:
    totals, wins_N = rows_of(skewed(20_000))
    prior = fit_prior([(totals.along_N, VARIANCE)])
    cutoff = find_cutoff(totals, prior, np.zeros(0), 1000)
    probability_N = probabilities(totals, prior, cutoff)
    assert probability_N.sum() == pytest.approx(1000, rel=0.01)
    likely = probability_N > 0.2
    assert np.mean(wins_N[likely] >= cutoff) == pytest.approx(
        probability_N[likely].mean(), abs=0.08
    )


def test_complete_rows_count_as_they_are() -> None:
    totals, _ = rows_of(skewed(1000))
    prior = fit_prior([(totals.along_N, VARIANCE)])
    complete = np.linspace(100, 101, 30)
    cutoff = find_cutoff(totals, prior, complete, 20)
    assert np.count_nonzero(complete >= cutoff) == 20
    nothing = totals.take(np.zeros(0, np.int64))
    assert find_cutoff(nothing, prior, complete, 7) == np.sort(complete)[-7]


def test_moments_are_those_of_the_wins() -> None:
    totals, wins_N = rows_of(skewed(20_000))
    mean_N, spread_N = moments(totals, fit_prior([(totals.along_N, VARIANCE)]))
    assert np.mean(((wins_N - mean_N) / spread_N) ** 2) == pytest.approx(1, abs=0.1)


def test_rows_that_nothing_is_known_of_have_the_prior() -> None:
    known, _ = rows_of(skewed(5000))
    prior = fit_prior([(known.along_N, VARIANCE), (np.zeros(10), 1.0)])
    one = np.ones(1)
    nothing = Totals(50 * one, 10 * one, 2 * one, 0 * one, one)
    assert np.allclose(prior.posterior(nothing)[0], prior.weight_E)


def test_without_any_row_the_prior_is_standard() -> None:
    prior = fit_prior([(np.zeros(3), 1.0)])
    assert prior.weight_E @ prior.eta_E == pytest.approx(0, abs=1e-9)
    assert prior.weight_E @ prior.eta_E**2 == pytest.approx(1, abs=0.05)
