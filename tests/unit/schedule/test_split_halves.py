"""How far two anchor sets agree, told from halves of one."""

import numpy as np
import pytest

from nuggets_ray.bench.worlds import WORLDS
from nuggets_ray.schedule.split_halves import (
    MIN_BEST,
    Agreement,
    correlation_of,
    overlap_of,
    overlap_of_halves,
    top_agreement,
    why_no_agreement,
)

NUM_ROWS, NUM_ANCHORS = 3000, 100


@pytest.mark.parametrize("kind", ["factor", "exchangeable"])
@pytest.mark.parametrize("share", [0.02, 0.1])
def test_it_is_the_agreement_of_two_sets_of_all_the_anchors(kind: str, share: float) -> None:
    both = WORLDS[kind](NUM_ROWS, 2 * NUM_ANCHORS, 3).delta
    both = both[:, np.random.default_rng(0).permutation(2 * NUM_ANCHORS)]
    num_best = round(share * NUM_ROWS)
    true = overlap_of_halves(both, num_best, 1, 20)
    told = top_agreement(both[:, :NUM_ANCHORS], share)
    assert isinstance(told, Agreement) and not told.is_beyond
    assert told.agreement == pytest.approx(true, abs=0.08)
    assert told.low < told.agreement < told.high and told.of_halves < told.agreement
    few = [top_agreement(both[i::30, :NUM_ANCHORS], share) for i in range(30)]
    agreements = [one.agreement for one in few if isinstance(one, Agreement)]
    assert np.mean(agreements) == pytest.approx(true, abs=0.12)
    assert np.mean([one.low <= true <= one.high for one in few if isinstance(one, Agreement)]) > 0.8


def test_halves_that_say_the_same_agree_wholly_and_noise_by_chance() -> None:
    rng = np.random.default_rng(0)
    same = np.tile(rng.standard_normal((200, 1)), (1, 20))
    told = top_agreement(same, 0.1)
    assert isinstance(told, Agreement) and told.agreement > 0.98 and told.of_halves == 1
    noise = top_agreement(rng.standard_normal((200, 20)), 0.1)
    assert isinstance(noise, Agreement) and noise.agreement < 0.35
    assert top_agreement(same, 1.0) == Agreement(1.0, 1.0, 1.0, 1.0, 20, 1.0, 200, 200)


def test_of_few_rows_a_small_share_is_an_extrapolation_and_of_too_few_there_is_none() -> None:
    world = WORLDS["factor"](100, 60, 0)
    told = top_agreement(world.delta, 0.01)
    assert isinstance(told, Agreement) and told.num_best == MIN_BEST and told.is_beyond
    wide = top_agreement(world.delta, 0.05)
    assert isinstance(wide, Agreement) and told.agreement < wide.agreement and not wide.is_beyond
    assert (
        top_agreement(world.delta[:5], 0.1)
        == why_no_agreement(5, 60)
        == ("5 rows that met every anchor are fewer than 20")
    )
    assert top_agreement(world.delta[:, :4], 0.1) == "4 anchors are fewer than 10"


def test_a_row_that_is_an_anchor_itself_counts_by_its_other_anchors() -> None:
    delta = WORLDS["factor"](100, 60, 0).delta
    holed = delta.copy()
    holed[3, 7] = np.nan
    holed[5] = np.nan
    holed[5, :2] = 1.0
    told, whole = (overlap_of_halves(one, 10, 0, 20) for one in (holed, delta))
    assert told == pytest.approx(whole, abs=0.15)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_overlap_and_correlation_are_two_ways_to_say_one_thing(share: float) -> None:
    drawn = np.random.default_rng(0).multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], 400_000)
    above = drawn > np.quantile(drawn, 1 - share, axis=0)
    overlap = float(above.all(axis=1).sum() / above[:, 0].sum())
    assert overlap_of(0.7, share) == pytest.approx(overlap, abs=0.02)
    assert correlation_of(overlap_of(0.7, share), share) == pytest.approx(0.7, abs=1e-4)
    assert overlap_of(0.0, share) == pytest.approx(share, abs=1e-6)
    assert correlation_of(share / 2, share) == 0 and correlation_of(1.0, share) > 0.999
