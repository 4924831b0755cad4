"""The study of a made-up matrix, whose truth a second set of anchors tells."""

import numpy as np
import pytest
from studied_run import factor_deltas

from nuggets_ray.config.study import StudyConfig
from nuggets_ray.studies.anchor_robustness import (
    GOLDEN,
    Robustness,
    sizes_told,
    study_robustness,
)
from nuggets_ray.studies.matrix import DeltaMatrix
from nuggets_ray.studies.measures import golden_score
from nuggets_ray.studies.repeatability import agree

CONFIG = StudyConfig(draws=6, cuts=[0.01, 0.1])


def matrix_of(delta: np.ndarray) -> DeltaMatrix:
    ids = np.array([f"c{number}" for number in range(len(delta))])
    return DeltaMatrix(ids, delta, len(delta), False, False)


@pytest.fixture(scope="module")
def both() -> np.ndarray:
    """1,000 rows on 80 anchors, and on 80 more of the same kind."""
    return factor_deltas(1000, 160)


@pytest.fixture(scope="module")
def found(both: np.ndarray) -> Robustness:
    return study_robustness(matrix_of(both[:, :80]), CONFIG, 0)


def test_what_is_predicted_for_all_anchors_is_what_a_second_set_shows(
    both: np.ndarray, found: Robustness
) -> None:
    predicted = found.point(GOLDEN, 80).agreement
    truth = agree(golden_score(both[:, :80]), golden_score(both[:, 80:]), [10, 100])
    for name in ("linear", "spearman", "kendall", "error"):
        assert getattr(predicted, name) == pytest.approx(getattr(truth, name), abs=0.03)
    assert predicted.overlaps[1] == pytest.approx(truth.overlaps[1], abs=0.08)


def test_sizes_up_to_half_are_measured_and_those_above_predicted(found: Robustness) -> None:
    golden = [point for point in found.points if point.measure == GOLDEN]
    assert [point.num_anchors for point in golden if point.is_measured] == [10, 20, 40]
    assert [point.num_anchors for point in golden if not point.is_measured] == [
        *(50, 80, 100, 200, 500, 800),
    ]
    overlaps = [point.agreement.overlaps[1] for point in golden]
    assert overlaps == sorted(overlaps), "more anchors repeat better"


def test_the_posterior_is_measured_where_half_of_the_anchors_carry_it(found: Robustness) -> None:
    assert not found.without_posterior
    sizes = {point.num_anchors for point in found.points if point.measure == "posterior_score"}
    assert min(sizes) == 40
    half = {p.measure: p for p in found.points if p.num_anchors == 40}
    golden = half[GOLDEN].golden
    posterior = half["posterior_score"].golden
    assert golden is not None and posterior is not None
    assert posterior.spearman > golden.spearman, "it says more of the others' golden score"


def test_a_quarter_of_the_anchors_predicts_half_of_them(found: Robustness) -> None:
    checks = [check for check in found.checks if check.measure == GOLDEN]
    assert [check.share for check in checks] == [0.01, 0.1]
    assert checks[1].predicted == pytest.approx(checks[1].measured, abs=0.1)


def test_small_sets_are_compared_by_the_rule_that_chose_them(found: Robustness) -> None:
    assert {point.rule for point in found.composition} == {"random", "kmeans", "stratified"}
    assert {point.num_anchors for point in found.composition} == {10, 20}
    assert all(point.num_held_out == 40 for point in found.composition)
    by_size = {
        point.num_anchors: point.agreement.spearman
        for point in found.composition
        if point.rule == "random"
    }
    assert by_size[20] > by_size[10]


def test_a_set_too_small_for_a_cut_is_called_so_with_the_number_that_would_do(
    both: np.ndarray,
) -> None:
    strict = StudyConfig(draws=4, cuts=[0.01, 0.1], min_overlap=0.9)
    found = study_robustness(matrix_of(both[:, :20]), strict, 0)
    for cut in found.cuts:
        assert not cut.is_enough and cut.overlap < 0.9
        assert cut.wanted_anchors is not None and cut.wanted_anchors > 20
    lax = study_robustness(
        matrix_of(both[:, :80]), StudyConfig(draws=4, cuts=[0.1], min_overlap=0.3), 0
    )
    assert lax.cuts[0].is_enough and lax.cuts[0].num_kept == 100


def test_a_cut_of_too_few_rows_is_named_and_not_measured(both: np.ndarray) -> None:
    found = study_robustness(matrix_of(both[:200, :20]), CONFIG, 0)
    assert found.too_few_rows == (0.01,) and [cut.share for cut in found.cuts] == [0.1]
    assert found.without_posterior, "40 anchors a half are not there"


def test_noise_is_repeatable_by_chance_and_no_number_is_promised() -> None:
    noise = np.random.default_rng(3).standard_normal((400, 40)).astype(np.float32)
    found = study_robustness(matrix_of(noise), StudyConfig(draws=10, cuts=[0.1]), 0)
    assert not found.cuts[0].is_enough
    assert found.cuts[0].overlap < 0.3
    assert found.cuts[0].wanted_anchors is None or found.cuts[0].wanted_anchors > 200


def test_the_sizes_that_are_told() -> None:
    assert sizes_told(40, StudyConfig()) == [10, 20, 50, 100, 200]
    assert sizes_told(40, StudyConfig(sizes=[500, 100, 100])) == [100, 500]


def test_the_same_seed_gives_the_same_numbers(both: np.ndarray) -> None:
    matrix, config = matrix_of(both[:300, :24]), StudyConfig(draws=3, cuts=[0.1])
    assert study_robustness(matrix, config, 1) == study_robustness(matrix, config, 1)
