"""Diverse rows: by hand, and against what brute force chooses."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nuggets_ray.curate.diversity import (
    NUM_DIMENSIONS,
    directions,
    facility_location,
    k_center,
    reduced,
)

ANGLES = np.radians([0, 5, 90, 95, 180, 182, 260])
CIRCLE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)
ONE_CELL = np.zeros(len(ANGLES), np.int64)


def test_k_center_takes_the_best_row_and_then_the_farthest() -> None:
    # 180 degrees are farthest from 0, then 90 from both, then 260
    assert k_center(CIRCLE, ONE_CELL, np.array([4])).tolist() == [0, 4, 2, 6]


def test_facility_location_takes_the_middles_and_k_center_the_edges() -> None:
    angles = np.radians([-4, -2, 0, 2, 4, 86, 88, 90, 92, 94, 225])
    unit = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    clusters = np.array([0] * 5 + [1] * 5 + [2])
    one_cell = np.zeros(11, np.int64)
    assert sorted(clusters[facility_location(unit, one_cell, np.array([2]))]) == [0, 1]
    assert sorted(clusters[k_center(unit, one_cell, np.array([2]))]) == [0, 2]


def test_cells_keep_their_room() -> None:
    cell_P = np.array([0, 0, 1, 1, 0, 1, 1])
    for choice in (k_center, facility_location):
        chosen = choice(CIRCLE, cell_P, np.array([1, 2]))
        assert np.bincount(cell_P[chosen]).tolist() == [1, 2]
        assert len(set(chosen.tolist())) == 3


@given(st.integers(0, 10_000), st.integers(4, 12), st.integers(1, 6))
def test_lazy_greedy_takes_each_time_a_row_that_adds_most(
    seed: int, num_rows: int, num: int
) -> None:
    drawn = np.random.default_rng(seed).standard_normal((num_rows, 3)).astype(np.float32)
    unit = directions(drawn)
    num = min(num, num_rows)
    chosen = facility_location(unit, np.zeros(num_rows, np.int64), np.array([num])).tolist()
    likeness = (1 + unit.astype(np.float64) @ unit.T.astype(np.float64)) / 2
    for step in range(num):
        before = chosen[:step]
        values = [likeness[[*before, row]].max(axis=0).sum() for row in range(num_rows)]
        assert values[chosen[step]] >= max(values) - 1e-4


@given(st.integers(0, 10_000), st.integers(1, 15))
def test_no_row_twice_and_as_many_as_there_is_room_for(seed: int, num: int) -> None:
    random = np.random.default_rng(seed)
    unit = directions(random.standard_normal((15, 4)).astype(np.float32))
    cell_P = random.integers(0, 2, 15)
    room_C = np.array([num // 2, num - num // 2])
    for choice in (k_center, facility_location):
        chosen = choice(unit, cell_P, room_C)
        assert len(set(chosen.tolist())) == len(chosen)
        there = np.bincount(cell_P, minlength=2)
        assert (
            np.bincount(cell_P[chosen], minlength=2).tolist() == np.minimum(room_C, there).tolist()
        )


def test_equal_rows_are_chosen_in_their_order() -> None:
    same = directions(np.ones((4, 3), np.float32))
    for choice in (k_center, facility_location):
        assert choice(same, np.zeros(4, np.int64), np.array([3])).tolist() == [0, 1, 2]


def test_a_projection_keeps_distances_within_a_tenth_or_so() -> None:
    hidden = np.random.default_rng(1).standard_normal((30, 2000)).astype(np.float32)
    small = reduced(hidden)
    assert small.shape == (30, NUM_DIMENSIONS) and small.dtype == np.float32
    before, after = (np.linalg.norm(x[:15] - x[15:], axis=1) for x in (hidden, small))
    assert np.abs(after / before - 1).max() < 0.2
    assert (reduced(small) == small).all(), "narrow ones stay as they are"
