"""The factor model finds what was put in, and is not misled by what few rows cannot show."""

import numpy as np
import pytest

from nuggets_ray.schedule.factor_model import expect_unseen, fit, refit

NUM_ANCHORS = 60


def drawn(num_rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Deltas (N, M) of two factors, and the expected deltas."""
    rng = np.random.default_rng(seed)
    loadings_MQ = np.random.default_rng(99).normal(0.3, 0.6, (NUM_ANCHORS, 2))
    mean_M = np.random.default_rng(98).normal(-0.3, 0.5, NUM_ANCHORS)
    expected = mean_M + rng.standard_normal((num_rows, 2)) @ loadings_MQ.T
    return expected + 0.7 * rng.standard_normal(expected.shape), expected


def test_expected_wins_and_their_variance_are_those_of_rows_not_seen() -> None:
    model = fit(drawn(200)[0])
    delta, _ = drawn(2000, seed=1)
    met, unseen = np.arange(20), np.arange(20, NUM_ANCHORS)
    covariance = model.covariance(met)
    theta_NQ = model.evidence(delta[:, met], met) @ covariance
    forecast = expect_unseen(model, theta_NQ, covariance, unseen)
    wins_N = np.count_nonzero(delta[:, unseen] > 0, axis=1)
    gradient = forecast.gradient_NQ
    variance_N = forecast.own_N + np.einsum("nq,qr,nr->n", gradient, covariance, gradient)
    assert np.mean(wins_N - forecast.mean_N) == pytest.approx(0, abs=0.7)
    assert np.mean((wins_N - forecast.mean_N) ** 2 / variance_N) == pytest.approx(1, abs=0.25)
    assert np.corrcoef(wins_N, forecast.mean_N)[0, 1] > 0.8


def test_evidence_of_parts_adds_up() -> None:
    delta, _ = drawn(100)
    model = fit(delta)
    whole = model.evidence(delta, np.arange(NUM_ANCHORS))
    halves = [np.arange(30), np.arange(30, NUM_ANCHORS)]
    assert np.allclose(whole, sum(model.evidence(delta[:, half], half) for half in halves))


def test_a_missing_delta_says_nothing() -> None:
    delta, _ = drawn(100)
    model = fit(delta)
    delta[0, 5] = np.nan
    rest = np.delete(np.arange(NUM_ANCHORS), 5)
    with_hole = model.evidence(delta[:1], np.arange(NUM_ANCHORS))
    assert np.allclose(with_hole, model.evidence(delta[:1, rest], rest))


def test_noise_is_given_little_of_a_factor() -> None:
    noise = np.random.default_rng(3).standard_normal((96, NUM_ANCHORS))
    real_Q = np.abs(fit(drawn(96)[0]).loadings_MQ).mean(axis=0)
    assert np.abs(fit(noise).loadings_MQ).mean() < 0.3 * real_Q[:2].mean()
    assert real_Q[2:].max() < 0.3 * real_Q[:2].mean()


def test_the_noise_of_an_anchor_is_at_least_its_known_rounding_after_a_refit_too() -> None:
    delta, _ = drawn(96)
    free = fit(delta)
    rounding_M = np.full(NUM_ANCHORS, np.nan)
    rounding_M[3] = 1.5 * free.scale_M[3]  # more than all that is left beside the factors
    model = fit(delta, rounding_M=rounding_M)
    assert free.noise_M[3] < 1 <= model.noise_M[3]
    assert np.allclose(np.delete(model.noise_M, 3), np.delete(free.noise_M, 3), rtol=0.2)
    again = refit(model, [(drawn(600, seed=1)[0], np.arange(NUM_ANCHORS))])
    assert again.noise_M[3] == pytest.approx(1)
    little = fit(delta, rounding_M=np.full(NUM_ANCHORS, 1e-3))
    assert np.array_equal(little.noise_M, free.noise_M)


def test_more_rows_bring_the_model_nearer_to_the_truth() -> None:
    pilot, _ = drawn(48)
    more, _ = drawn(1500, seed=2)
    met = np.arange(25)
    model = fit(pilot)
    again = refit(model, [(pilot, np.arange(NUM_ANCHORS)), (more[:, met], met)])
    test, expected = drawn(1000, seed=4)

    def error(fitted: object) -> float:
        covariance = fitted.covariance(met)  # type: ignore[attr-defined]
        theta = fitted.evidence(test[:, met], met) @ covariance  # type: ignore[attr-defined]
        z = theta @ fitted.loadings_MQ.T + fitted.intercept_M  # type: ignore[attr-defined]
        predicted = fitted.mean_M + fitted.scale_M * z  # type: ignore[attr-defined]
        return float(np.mean((predicted[:, met] - expected[:, met]) ** 2))

    assert error(again) < error(model)


@pytest.mark.parametrize("num_rows", [1, 7, 20])
def test_few_rows_get_few_factors(num_rows: int) -> None:
    model = fit(drawn(num_rows)[0])
    assert model.num_factors == max(1, num_rows // 8)
    assert np.isfinite(model.loadings_MQ).all() and np.isfinite(model.cut_M).all()
