"""The next barrier of a race is the one that a look ahead finds cheapest."""

import numpy as np
import pytest
from scipy.special import ndtr

from nuggets_ray.schedule.factor_model import FactorModel
from nuggets_ray.schedule.look_ahead import Road, next_step, road_ahead

ENDS = np.array([10, 20, 50, 100, 200, 400, 700, 1000])
ROAD = Road(ENDS, 1000.0 * (1000 - ENDS) / ENDS, 70.0 * ENDS)
SURE, HOPELESS, OPEN = 0.9, 1e-7, 0.02


def standing(*counts: tuple[float, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows that met the first anchors, with these probabilities."""
    probability_I = np.concatenate([np.full(count, p) for p, count in counts])
    return np.zeros(len(probability_I), np.int64), probability_I


def test_the_hopeless_are_left_behind_and_the_open_go_on_to_a_short_block() -> None:
    at_I, probability_I = standing((HOPELESS, 4000), (OPEN, 900), (SURE, 20))
    step = next_step(ROAD, 80.0, at_I, probability_I, num_barriers=5, may_lose=0.4)
    assert not step.goes_I[:4000].any() and step.goes_I[4000:].all()
    assert 0 < step.stop < len(ENDS) - 2
    assert not step.stays_I.any()


def test_at_the_last_barrier_rows_are_completed_but_those_that_may_be_lost() -> None:
    at_I, probability_I = standing((0.001, 300), (0.002, 300), (OPEN, 10), (SURE, 20))
    step = next_step(ROAD, 80.0, at_I, probability_I, num_barriers=1, may_lose=0.31)
    assert step.stop == len(ENDS) - 1
    left = ~step.goes_I
    assert left[:300].all() and not left[300:].any()


def test_of_sure_rows_all_is_computed_at_once() -> None:
    at_I, probability_I = standing((HOPELESS, 100), (1.0, 50))
    step = next_step(ROAD, 80.0, at_I, probability_I, num_barriers=6, may_lose=0.5)
    assert step.stop == len(ENDS) - 1
    assert step.goes_I[100:].all() and not step.goes_I[:100].any()


def test_more_barriers_and_dearer_readings_change_how_short_a_block_is() -> None:
    at_I, probability_I = standing((1e-3, 3000), (OPEN, 900), (SURE, 20))
    stops = {
        (barriers, demo): next_step(ROAD, demo, at_I, probability_I, barriers, 0.4).stop
        for barriers in (2, 6)
        for demo in (10.0, 20_000.0)
    }
    assert stops[6, 10.0] < stops[2, 10.0]
    assert stops[6, 10.0] < stops[6, 20_000.0]


def test_rows_that_are_behind_catch_up_and_those_ahead_wait() -> None:
    at_I = np.array([0] * 500 + [3] * 5)
    probability_I = np.full(505, OPEN)
    step = next_step(ROAD, 80.0, at_I, probability_I, num_barriers=5, may_lose=0.1)
    assert step.goes_I[:500].all()
    if step.stop <= 3:
        assert step.stays_I[500:].all()
    few = next_step(ROAD, 80.0, at_I[-50:], probability_I[-50:], num_barriers=5, may_lose=0.1)
    assert few.goes_I[:45].all()


@pytest.mark.parametrize("may_lose", [0.05, 0.5, 3.0])
def test_what_is_lost_on_such_a_way_is_what_may_be(may_lose: float) -> None:
    """Rows walked barrier by barrier as the martingale that the look ahead takes them for."""
    rng = np.random.default_rng(0)
    num_rows = 40_000
    x = rng.normal(-3.5, 1.0, num_rows)
    at = np.zeros(num_rows, np.int64)
    variance = np.append(ROAD.variance_J[:-1], 0.0)
    is_out, lost = np.zeros(num_rows, bool), 0.0
    scale = 20.0
    for num_barriers in range(5, 0, -1):
        live = np.flatnonzero(~is_out & (at < len(ENDS) - 1))
        budget = may_lose * scale - lost
        step = next_step(ROAD, 80.0, at[live], ndtr(x[live]), num_barriers, max(budget, 1e-3))
        left = live[~step.goes_I & ~step.stays_I]
        lost += float(ndtr(x[left]).sum())
        is_out[left] = True
        goes = live[step.goes_I]
        if step.stop == len(ENDS) - 1:
            at[goes] = step.stop
            continue
        here, there = variance[at[goes]], variance[step.stop]
        noise = rng.standard_normal(len(goes)) * np.sqrt(here - there)
        x[goes] = (x[goes] * np.sqrt(here) + noise) / np.sqrt(there)
        at[goes] = step.stop
    assert lost == pytest.approx(may_lose * scale, rel=0.1)


def test_a_road_leads_to_the_end_and_its_variance_falls() -> None:
    num_anchors = 60
    model = FactorModel(
        mean_M=np.zeros(num_anchors),
        scale_M=np.ones(num_anchors),
        intercept_M=np.zeros(num_anchors),
        loadings_MQ=np.full((num_anchors, 1), 0.5),
        noise_M=np.full(num_anchors, 0.75),
        cut_M=np.zeros(num_anchors),
        rounding_M=np.zeros(num_anchors),
    )
    blocks = [np.arange(5), np.arange(5, 12)]
    road = road_ahead(model, blocks, np.arange(12, 60), np.full(num_anchors, 7.0), np.zeros(1))
    assert road.ends_J[:2].tolist() == [5, 12] and road.ends_J[-1] == num_anchors
    assert (np.diff(road.variance_J) < 0).all() and road.variance_J[-1] == 0
    assert road.anchor_tokens_J.tolist() == (7.0 * road.ends_J).tolist()
