"""Mixtures: every set has its share of each number of first rows, and no row comes twice."""

import numpy as np

from nuggets_ray.mixture import mix

DRAW = np.random.default_rng(0)


def test_each_set_gives_its_share_of_the_first_rows() -> None:
    rankings = {name: DRAW.permutation(300) for name in ("maths", "writing", "code")}
    shares = {"maths": 0.5, "writing": 0.3, "code": 0.2}
    rows, given_by = mix(rankings, shares, 300)
    assert sorted(rows.tolist()) == list(range(300))
    for num in (1, 2, 7, 10, 60, 100):
        counts = np.bincount(given_by[:num], minlength=3)
        assert np.abs(counts - num * np.array(list(shares.values()))).max() <= 1
    assert np.bincount(given_by[:100], minlength=3).tolist() == [50, 30, 20]


def test_a_set_gives_its_best_rows_that_are_not_there_yet() -> None:
    rankings = {"a": np.array([0, 1, 2, 3]), "b": np.array([0, 3, 2, 1])}
    rows, given_by = mix(rankings, {"a": 0.5, "b": 0.5}, 4)
    assert rows.tolist() == [0, 3, 1, 2] and given_by.tolist() == [0, 1, 0, 1]


def test_a_set_without_rows_leaves_the_others_theirs() -> None:
    rankings = {"a": np.array([2]), "b": np.array([1, 3, 4])}
    rows, given_by = mix(rankings, {"a": 0.9, "b": 0.1}, 5)
    assert rows.tolist() == [2, 1, 3, 4] and given_by.tolist() == [0, 1, 1, 1]
    rows, given_by = mix({"a": np.array([], int)}, {"a": 1.0}, 5)
    assert len(rows) == len(given_by) == 0


def test_one_set_alone_is_its_own_ranking() -> None:
    ranking = DRAW.permutation(50)
    rows, _ = mix({"a": ranking}, {"a": 1.0}, 50)
    np.testing.assert_array_equal(rows, ranking)
