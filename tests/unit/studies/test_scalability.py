"""Costs beyond the run: full scoring is linear, a race has its pilot and a constant a row."""

from dataclasses import replace

import numpy as np
import pytest
from studied_run import factor_deltas

from nuggets_ray.config.study import StudyConfig
from nuggets_ray.studies.matrix import DeltaMatrix
from nuggets_ray.studies.run_costs import RunCosts
from nuggets_ray.studies.scalability import (
    FULL,
    MEASURED,
    MODELLED,
    REHEARSED,
    Scalability,
    study_scalability,
)

CONFIG = StudyConfig(
    name="scalability", cuts=[0.05], candidates=[10_000, 1_000_000], race_rows=2000
)
NUM_ROWS, NUM_ANCHORS = 400, 60
IDS = np.array([f"c{number:05d}" for number in range(NUM_ROWS)])
COSTS = RunCosts(
    content_id_N=IDS,
    demo_tokens_N=np.full(NUM_ROWS, 50.0),
    mean_answer_tokens=20.0,
    anchor_tokens_A=np.full(NUM_ANCHORS, 10.0),
    tokens_per_s=100.0,
    num_measured=400,
    measured_s=2600.0,
    num_workers=2,
    progress_P2=np.array([[100, 600], [200, 1200], [300, 1900], [400, 2600]], float),
    is_race=False,
    worker_gib=1.5,
    ids_bytes=200.0,
)


@pytest.fixture(scope="module")
def matrix() -> DeltaMatrix:
    return DeltaMatrix(IDS, factor_deltas(NUM_ROWS, NUM_ANCHORS), NUM_ROWS, False, False)


@pytest.fixture(scope="module")
def found(matrix: DeltaMatrix) -> Scalability:
    return study_scalability(COSTS, matrix, CONFIG, 0)


def test_full_scoring_is_linear_in_candidates(found: Scalability) -> None:
    full = {
        point.num_candidates: point
        for point in found.points
        if point.selector == FULL and point.source == MODELLED
    }
    assert full[1_000_000].tokens == 1_000_000 * 650
    assert full[1_000_000].worker_s == 6_500_000 and full[1_000_000].pool_passes == 13
    assert full[1_000_000].tokens == 100 * full[10_000].tokens
    assert full[1_000_000].driver_gib == pytest.approx(200e6 / 2**30)


def test_what_was_measured_is_told_as_it_was(found: Scalability) -> None:
    measured = [point for point in found.points if point.source == MEASURED]
    assert [(point.num_candidates, point.worker_s) for point in measured] == [
        *((100, 600.0), (200, 1200.0), (300, 1900.0), (400, 2600.0)),
    ]
    assert {point.selector for point in measured} == {FULL}
    # half at index 2: 300 in 1,900 s, then 100 in 700 s
    assert found.fit_error == pytest.approx((300 / 1900) / (100 / 700) - 1)


def test_a_race_is_rehearsed_and_carried_on(found: Scalability) -> None:
    race = [point for point in found.points if point.selector == "race, top 5%"]
    rehearsed = {point.num_candidates: point for point in race if point.source == REHEARSED}
    assert set(rehearsed) == {200, 600, 2000}
    at = {point.num_candidates: point for point in race if point.source == MODELLED}
    full_tokens = 650.0
    largest = rehearsed[2000]
    assert largest.tokens < 2000 * full_tokens
    a_row = (largest.tokens - 96 * full_tokens) / (2000 - 96)
    assert at[1_000_000].tokens == pytest.approx(256 * full_tokens + (1_000_000 - 256) * a_row)
    assert at[1_000_000].tokens / 1_000_000 < largest.tokens / 2000, "the pilot vanishes"
    assert at[1_000_000].driver_gib > 200e6 / 2**30, "its answers are held too"
    assert abs(found.race_error[0.05]) < 0.5


def test_other_selectors_cost_a_pass_or_none(found: Scalability) -> None:
    passes = {
        point.selector: point.pool_passes
        for point in found.points
        if point.num_candidates == 10_000 and point.source == MODELLED
    }
    assert passes["longest, random"] == 0 and passes["perplexity or rds alone"] == 1
    assert passes["ifd alone"] == pytest.approx(1.4)


def test_a_run_that_was_not_timed_has_nothing_measured(matrix: DeltaMatrix) -> None:
    untimed = replace(COSTS, progress_P2=np.zeros((0, 2)))
    found = study_scalability(untimed, matrix, CONFIG, 0)
    assert found.fit_error is None
    assert all(point.source != MEASURED for point in found.points)
