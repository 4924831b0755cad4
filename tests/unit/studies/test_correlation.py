"""Correlation of signal and gain: by hand, against scipy, and under no relation at all."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from nuggets_ray.studies.arms import GROUP, OTHER
from nuggets_ray.studies.correlation import (
    ArmResult,
    correlate,
    lead,
    permutation_p,
    summarise,
)


def training(name: str, seed: int, signal: float, gain: float, tokens: int = 100) -> ArmResult:
    kind = GROUP if name.startswith("group") else OTHER
    return ArmResult(name, kind, seed, 10, tokens, signal, gain, "rows")


def rising(slope: float, noise: float = 0.0, num_groups: int = 5) -> list[ArmResult]:
    rng = np.random.default_rng(1)
    return [
        training(f"group-{g}", seed, g / 10, slope * g + noise * rng.standard_normal(), 100 + g)
        for seed in range(3)
        for g in range(1, num_groups + 1)
    ]


def test_a_rising_gain_has_the_least_p_that_there_is() -> None:
    found = correlate(rising(0.01), 5)
    assert found is not None
    assert found.r == pytest.approx(1) and found.rho == pytest.approx(1)
    assert found.p == pytest.approx(2 / 120) == found.least_p
    assert found.by_seed == pytest.approx((1, 1, 1))
    assert (found.low, found.high) == pytest.approx((1, 1))
    assert found.of_tokens == pytest.approx(1), "tokens rise too: the two cannot be told apart"


def test_the_permutation_counts_every_order() -> None:
    signal, gain = np.array([1.0, 2, 3, 4]), np.array([2.0, 1, 4, 3])
    observed = abs(np.corrcoef(signal, gain)[0, 1])
    orders = [abs(np.corrcoef(signal[list(o)], gain)[0, 1]) for o in permutations(range(4))]
    expected = np.mean([one >= observed - 1e-9 for one in orders])
    assert permutation_p(signal, gain) == (pytest.approx(expected), 2 / 24)


def test_of_groups_that_lie_unevenly_one_order_alone_is_the_best() -> None:
    signal, gain = np.array([0.449, 0.659, 0.793]), np.array([0.0525, 0.0827, 0.1052])
    assert permutation_p(signal, gain) == pytest.approx((1 / 6, 1 / 6))
    assert permutation_p(signal, gain[::-1]) == pytest.approx((2 / 6, 1 / 6))


def test_of_many_groups_orders_are_drawn() -> None:
    rng = np.random.default_rng(0)
    p, least = permutation_p(np.arange(12.0), rng.standard_normal(12))
    assert 0 < p <= 1 and least < 1e-4
    assert permutation_p(np.arange(12.0), np.arange(12.0))[0] < 1e-3


def test_without_a_relation_p_is_small_as_seldom_as_it_says() -> None:
    rng = np.random.default_rng(4)
    values = [permutation_p(np.arange(5.0), rng.standard_normal(5))[0] for _ in range(300)]
    assert 0.04 <= np.mean(np.array(values) <= 0.1 + 1e-9) <= 0.17


def test_equal_gains_correlate_with_nothing() -> None:
    found = correlate(rising(0.0), 5)
    assert found is not None and found.r == 0 and found.p == 1


def test_nothing_is_said_before_every_group_is_trained() -> None:
    assert correlate(rising(0.01)[:4], 5) is None
    assert correlate([one for one in rising(0.01) if one.seed == 0], 5) is not None


def test_seeds_that_miss_a_group_do_not_count_among_the_seeds() -> None:
    results = [one for one in rising(0.01, 0.01) if (one.name, one.seed) != ("group-3", 1)]
    found = correlate(results, 5)
    assert found is not None and len(found.by_seed) == 2 and found.num_seeds == 2


def test_an_arm_is_summed_up_over_its_seeds() -> None:
    gains = [0.1, 0.3, 0.2]
    arm = summarise([training("longest", seed, 0.5, gain) for seed, gain in enumerate(gains)])[0]
    assert (arm.num_seeds, arm.gain, arm.sd) == (3, pytest.approx(0.2), pytest.approx(0.1))
    low, high = stats.t.interval(0.95, 2, 0.2, 0.1 / np.sqrt(3))
    assert (arm.low, arm.high) == (pytest.approx(low), pytest.approx(high))
    single = summarise([training("longest", 0, 0.5, 0.1)])[0]
    assert single.sd is None and single.low is None


def test_a_lead_is_welch_s() -> None:
    one, two = [0.3, 0.4, 0.38], [0.1, 0.15, 0.2]
    results = [training("a", seed, 0.5, gain) for seed, gain in enumerate(one)]
    results += [training("b", seed, 0.5, gain) for seed, gain in enumerate(two)]
    found = lead(results, "a", "b")
    welch = stats.ttest_ind(one, two, equal_var=False).confidence_interval()
    assert found == pytest.approx((np.mean(one) - np.mean(two), welch.low, welch.high))
    assert lead(results[:4], "a", "b") is None and lead(results, "a", "c") is None
