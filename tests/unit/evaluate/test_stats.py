"""Intervals and tests against scipy and against numbers worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from nuggets_ray.evaluate import stats
from nuggets_ray.score import golden


def normal(num_rows: int, mean: float = 0.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, num_rows)


def test_weighted_mean_by_hand() -> None:
    assert stats.weighted_mean(np.array([1.0, 4.0])) == 2.5
    assert stats.weighted_mean(np.array([1.0, 4.0]), np.array([1, 3])) == 3.25


@pytest.mark.parametrize(
    ("values", "weights"),
    [([], None), ([1.0, math.nan], None), ([1.0], [0.0]), ([1.0], [-1.0]), ([1.0], [1.0, 2.0])],
)
def test_what_has_no_mean_raises(values: list[float], weights: list[float] | None) -> None:
    weight_N = None if weights is None else np.array(weights)
    with pytest.raises(ValueError):
        stats.weighted_mean(np.array(values), weight_N)
    with pytest.raises(ValueError):
        stats.bootstrap_interval(np.array(values), 0, weight_N)


def test_bootstrap_agrees_with_scipy() -> None:
    value_N, weight_N = normal(200), np.random.default_rng(1).integers(1, 90, 200).astype(float)
    ours = stats.bootstrap_interval(value_N, 0, weight_N, num_resamples=20_000)
    theirs = scipy_stats.bootstrap(
        (value_N * weight_N, weight_N),
        lambda top, bottom, axis: top.sum(axis=axis) / bottom.sum(axis=axis),
        paired=True,
        n_resamples=20_000,
        method="percentile",
        rng=1,
    ).confidence_interval
    # 200 rows: studentised or not, intervals of a mean that is nearly normal are the same
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.03)


def draw_values(kind: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None, float]:
    """30 values, their weights, and the mean that they are drawn around."""
    if kind == "normal":
        return rng.normal(size=30), None, 0.0
    if kind == "skewed":
        return rng.exponential(size=30), None, 1.0
    return rng.normal(-2, 0.7, 30), np.ceil(rng.lognormal(4, 1, 30)), -2.0


@pytest.mark.parametrize(("kind", "least"), [("normal", 0.93), ("skewed", 0.93), ("tokens", 0.91)])
def test_the_interval_of_a_mean_covers_it_at_30_rows(kind: str, least: float) -> None:
    """Of 500 experiments; the coverage is 0.96, 0.95 and 0.93."""
    rng = np.random.default_rng(0)
    num_covered = 0
    for experiment in range(500):
        value_N, weight_N, truth = draw_values(kind, rng)
        bounds = stats.bootstrap_interval(value_N, experiment, weight_N, num_resamples=500)
        assert bounds is not None
        num_covered += bounds[0] <= truth <= bounds[1]
    assert num_covered / 500 >= least


def test_bootstrap_is_seeded_and_does_not_depend_on_the_block_size(monkeypatch) -> None:
    value_N = normal(50)
    first = stats.bootstrap_interval(value_N, 3)
    assert stats.bootstrap_interval(value_N, 3) == first
    assert stats.bootstrap_interval(value_N, 4) != first
    monkeypatch.setattr(stats, "BLOCK_ENTRIES", 170)
    assert stats.bootstrap_interval(value_N, 3) == first


def test_bootstrap_within_strata_keeps_their_sizes() -> None:
    """Between strata that differ and within which nothing varies much, only the within counts."""
    strata_N = np.repeat([0, 1], 50)
    value_N = 100.0 * strata_N + 0.01 * normal(100)
    plain, within = (
        stats.bootstrap_interval(value_N, 0),
        stats.bootstrap_interval(value_N, 0, strata_N=strata_N),
    )
    assert plain and within
    assert plain[1] - plain[0] > 10
    assert within[1] - within[0] < 0.01
    assert within[0] < value_N.mean() < within[1]


def test_no_interval_where_resampling_shows_no_spread() -> None:
    assert stats.bootstrap_interval(np.full(40, 2.0), 0) is None
    strata_N = np.repeat([0, 1], [39, 1])
    assert stats.bootstrap_interval(normal(40), 0, strata_N=strata_N) is None


def test_too_few_rows_have_no_interval_and_say_so() -> None:
    assert stats.bootstrap_interval(normal(29), 0) is None
    assert stats.bootstrap_interval(normal(30), 0) is not None
    assert stats.why_no_interval(29) == {"no_interval": "too few for an interval"}
    assert stats.why_no_interval(29, 0.031) == {
        "no_interval": "too few for an interval (exact test: p = 0.031)"
    }
    assert stats.why_no_interval(30) == stats.why_no_interval(30, 0.031) == {}


def test_resamples_without_spread_bound_nothing() -> None:
    """39 wins and a loss: every third resample is all wins."""
    outcome_N = np.array([1.0] * 39 + [0.0])
    low, high = stats.bootstrap_interval(outcome_N, 0) or (math.nan, math.nan)
    assert 0.0 <= low < outcome_N.mean() < high


def test_outcomes() -> None:
    found = stats.outcomes(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0]))
    assert found.tolist() == [0.0, 0.5, 1.0]
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="not finite"):
            stats.outcomes(np.array([bad]), np.array([bad]))


def test_win_rate_by_hand() -> None:
    """7 wins, 1 loss, 2 ties: 8 of 10; p = 2 (C(8,0) + C(8,1)) / 2^8."""
    rate = stats.win_rate(np.array([1.0] * 7 + [0.0] + [0.5] * 2))
    assert (rate.value, rate.num_wins, rate.num_losses, rate.num_ties) == (0.8, 7, 1, 2)
    assert rate.num_rows == 10
    assert rate.p_value == pytest.approx(18 / 256)
    assert rate.bounds is not None
    # Wilson's of 0.8 in 13.09 rows without ties: 10 x 0.16 over the variance of these, 1.1 / 9
    assert rate.bounds == pytest.approx(golden.wilson_interval(10.4727, 13.0909), abs=1e-4)


@pytest.mark.parametrize(("share", "tied"), [(0.5, 0.0), (0.9, 0.0), (0.7, 0.4), (0.9, 0.6)])
def test_the_interval_of_a_win_rate_covers_it(share: float, tied: float) -> None:
    rng = np.random.default_rng(0)
    truth = 0.5 * tied + share * (1 - tied)
    num_covered = 0
    for _ in range(400):
        won_N = (rng.random(40) < share).astype(float)
        won_N[rng.random(40) < tied] = 0.5
        low, high = stats.share_interval(won_N) or (math.nan, math.nan)
        num_covered += low <= truth <= high
    assert num_covered / 400 >= 0.91


def test_win_rate_of_ties_only_knows_nothing() -> None:
    rate = stats.win_rate(np.full(100, 0.5))
    assert (rate.value, rate.bounds, rate.p_value) == (0.5, None, 1.0)


@pytest.mark.parametrize("won", [0.0, 1.0])
def test_rows_all_won_or_lost_have_the_exact_interval(won: float) -> None:
    """Clopper-Pearson for 3 of 3: low = 0.025^(1/3)."""
    rate = stats.win_rate(np.full(3, won))
    low, high = 0.025 ** (1 / 3), 1.0
    assert rate.bounds == pytest.approx((low, high) if won else (1 - high, 1 - low))
    assert rate.p_value == 0.25


def test_sign_flip_by_hand() -> None:
    """Of the 8 ways to sign 1, 2 and 3, only all plus and all minus sum to 6 or more."""
    assert stats.sign_flip_test(np.array([1.0, 2.0, 3.0]), 0) == 0.25
    assert stats.sign_flip_test(np.array([1.0, 2.0, -3.0]), 0) == 1.0
    assert stats.sign_flip_test(np.zeros(50), 0) == 1.0
    assert stats.sign_flip_test(np.array([1.0]), 0) == 1.0


def test_sign_flip_ignores_ties_and_counts_weights() -> None:
    difference_N = np.array([1.0, 2.0, 3.0])
    with_ties = np.concatenate([difference_N, np.zeros(20)])
    assert stats.sign_flip_test(with_ties, 0) == 0.25
    # 10, -2 and 3 sum to 11; of 15, 11, 9 and 5, each of either sign, half reach that
    assert stats.sign_flip_test(np.array([10.0, -1.0, 1.0]), 0, np.array([1.0, 2.0, 3.0])) == 0.5


def test_sign_flip_agrees_with_scipy() -> None:
    first_N, second_N = normal(40, 0.4), normal(40, 0.0, seed=1)
    theirs = scipy_stats.permutation_test(
        (first_N, second_N),
        lambda x, y, axis: (x - y).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        rng=0,
    ).pvalue
    ours = stats.sign_flip_test(first_N - second_N, 0)
    assert ours == pytest.approx(theirs, abs=0.02)
    few = first_N[:13]
    assert stats.sign_flip_test(few, 0) == stats.sign_flip_test(few, 5), "exact: no seed counts"


def test_sign_flip_is_valid_under_the_null() -> None:
    p_values = [stats.sign_flip_test(normal(12, seed=seed), 0) for seed in range(300)]
    assert np.mean(np.array(p_values) <= 0.05) < 0.09


def test_holm_by_hand() -> None:
    """4 x 0.01, 3 x 0.02, then 2 x 0.022 raised to the one before, and 1 x 0.5."""
    adjusted = stats.holm({"a": 0.5, "b": 0.01, "c": 0.022, "d": 0.02})
    assert list(adjusted) == ["a", "b", "c", "d"]
    assert adjusted == pytest.approx({"b": 0.04, "d": 0.06, "c": 0.06, "a": 0.5})
    assert stats.holm({"only": 0.04}) == {"only": 0.04}
    assert stats.holm({}) == {}
    with pytest.raises(ValueError, match="no p-value"):
        stats.holm({"a": math.nan})


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_only_raises_and_keeps_the_order(p_values: list[float]) -> None:
    named = {str(i): p for i, p in enumerate(p_values)}
    adjusted = stats.holm(named)
    assert all(named[name] <= adjusted[name] <= 1 for name in named)
    by_p = sorted(named, key=lambda name: named[name])
    assert [adjusted[name] for name in by_p] == sorted(adjusted.values())


def test_prediction_interval_by_hand() -> None:
    """1, 2, 3: mean 2, sd 1, t(2) = 4.3027: 2 +- 4.3027 sqrt(4/3)."""
    draws = np.array([1.0, 2.0, 3.0])
    assert stats.pooled_sd([draws]) == (pytest.approx(1.0), 2)
    half = 4.302653 * math.sqrt(4 / 3)
    bounds = stats.prediction_interval(draws, 1.0, 2)
    assert bounds == pytest.approx((2 - half, 2 + half), abs=1e-5)
    assert stats.largest_difference(1.0, 2) == pytest.approx(4.302653 * math.sqrt(2))


def test_spread_is_pooled_within_kinds() -> None:
    kinds = [np.array([1.0, 2.0, 3.0]), np.array([10.0, 14.0]), np.array([7.0]), np.array([])]
    assert stats.pooled_sd(kinds) == (pytest.approx(math.sqrt((2 + 8) / 3)), 3)


@pytest.mark.parametrize("draws", [[], [1.0], [1.0, 1.0, 1.0], [0.3, 0.1 + 0.2, 0.3]])
def test_no_spread_without_draws_that_differ(draws: list[float]) -> None:
    assert stats.pooled_sd([np.array(draws)]) is None
    assert stats.pooled_sd([np.array(draws), np.array([5.0])]) is None
