"""Smaller sets of the anchors: as many as asked for, each once, the same for a seed."""

import numpy as np
import pytest

from nuggets_ray.studies.anchor_rules import RULES


def two_kinds(num_rows: int = 40) -> np.ndarray:
    """Twelve anchors of one kind and four of another, which other rows help."""
    rng = np.random.default_rng(0)
    kinds_2N = rng.standard_normal((2, num_rows))
    kind_A = np.array([0] * 12 + [1] * 4)
    delta: np.ndarray = (kinds_2N[kind_A] + 0.05 * rng.standard_normal((16, num_rows))).T
    delta[0, 0] = np.nan
    return delta


@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_rule_gives_distinct_anchors_and_the_same_for_a_seed(rule: str) -> None:
    for num in (2, 4, 16):
        chosen = RULES[rule](two_kinds(), num, 3)
        assert len(np.unique(chosen)) == num and set(chosen) <= set(range(16))
        assert chosen.tolist() == RULES[rule](two_kinds(), num, 3).tolist()


def test_k_means_takes_one_of_each_kind() -> None:
    chosen = RULES["kmeans"](two_kinds(), 2, 0)
    assert sorted(anchor >= 12 for anchor in chosen) == [False, True]


def test_strata_are_served_by_their_size() -> None:
    delta = two_kinds()
    of_second = [(RULES["stratified"](delta, 8, seed) >= 12).sum() for seed in range(8)]
    drawn = [(RULES["random"](delta, 8, seed) >= 12).sum() for seed in range(40)]
    assert np.var(of_second) < np.var(drawn) and np.mean(of_second) == pytest.approx(2, abs=0.6)


def test_a_random_set_depends_on_its_seed() -> None:
    sets = {tuple(RULES["random"](two_kinds(), 5, seed)) for seed in range(5)}
    assert len(sets) > 1


def test_k_means_of_few_coordinates_is_that_of_the_columns_themselves() -> None:
    from sklearn.cluster import KMeans

    delta = np.random.default_rng(1).standard_normal((300, 20)) @ np.diag(np.arange(1.0, 21))
    columns = ((delta - delta.mean(axis=0)) / delta.std(axis=0)).T
    for num in (2, 5, 9):
        centres = KMeans(num, random_state=7, n_init="auto").fit(columns).cluster_centers_
        taken: list[int] = []
        for centre in centres:
            distance = ((columns - centre) ** 2).sum(axis=1)
            distance[taken] = np.inf
            taken.append(int(np.argmax(distance <= distance.min() * (1 + 1e-9))))
        assert RULES["kmeans"](delta, num, 7).tolist() == taken
