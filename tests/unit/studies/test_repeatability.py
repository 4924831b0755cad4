"""Agreement of rankings, and what more anchors would make of it: formulas against simulation."""

import math

import numpy as np
import pytest

from nuggets_ray.studies.measures import Ranking
from nuggets_ray.studies.repeatability import (
    RankAgreement,
    agree,
    extend,
    mean_agreement,
    ratio_for,
)


def ranking(scores: list[float]) -> Ranking:
    return Ranking(np.array(scores), np.zeros(len(scores)))


def test_agreement_by_hand() -> None:
    first, second = ranking([4, 3, 2, 1]), ranking([4, 2, 3, 1])
    found = agree(first, second, [1, 2])
    assert found.overlaps == (1.0, 0.5)
    assert found.spearman == pytest.approx(0.8) and found.kendall == pytest.approx(4 / 6)
    assert found.error == pytest.approx(math.sqrt(0.5) / math.sqrt(2))


def test_a_ranking_without_spread_agrees_with_nothing() -> None:
    found = agree(ranking([1, 1, 1]), ranking([1, 2, 3]), [1])
    assert (found.linear, found.spearman, found.kendall) == (0, 0, 0)


def test_a_shift_that_all_rows_share_is_no_error() -> None:
    assert agree(ranking([1, 2, 3]), ranking([2, 3, 4]), [1]).error == 0


def test_means_over_draws() -> None:
    found = mean_agreement(
        [
            RankAgreement(0.2, 0.4, 0.6, 1.0, (0.0, 1.0)),
            RankAgreement(0.4, 0.4, 0.2, 3.0, (1.0, 1.0)),
        ]
    )
    assert found.linear == pytest.approx(0.3) and found.error == 2.0
    assert found.overlaps == (0.5, 1.0)


def test_what_more_anchors_give_is_seen_in_a_normal_world() -> None:
    rng = np.random.default_rng(2)
    truth_N = rng.standard_normal((20_000, 1))
    parts_NA = truth_N + 3 * rng.standard_normal((20_000, 80))
    rankings = {
        size: [
            Ranking(parts_NA[:, start : start + size].mean(1), np.zeros(20_000))
            for start in (0, size)
        ]
        for size in (10, 40)
    }
    measured = {size: agree(*pair, [200, 2000]) for size, pair in rankings.items()}
    predicted = extend(measured[10], 4, [0.01, 0.1])
    for name in ("linear", "spearman", "kendall", "error"):
        assert getattr(predicted, name) == pytest.approx(getattr(measured[40], name), abs=0.02)
    assert predicted.overlaps[0] == pytest.approx(measured[40].overlaps[0], abs=0.1)  # of 200 rows
    assert predicted.overlaps[1] == pytest.approx(measured[40].overlaps[1], abs=0.03)
    ratio = ratio_for(measured[10], 1, 0.1, predicted.overlaps[1])
    assert ratio == pytest.approx(4, rel=0.02)


def test_no_number_of_anchors_is_foreseen_where_halves_agree_by_chance() -> None:
    assert ratio_for(RankAgreement(0, 0, 0, 0.1, (0.05,)), 0, 0.1, 0.5) == math.inf
