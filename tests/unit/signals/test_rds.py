"""RDS+: weights, cosines and the round-robin, worked by hand and against the authors' loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuggets_ray.signals.rds import cosines, nearest, position_weights, round_robin


def test_later_tokens_weigh_more() -> None:
    assert position_weights(3) == pytest.approx([1 / 6, 2 / 6, 3 / 6])
    assert position_weights(1) == pytest.approx([1.0])


def test_cosines_with_each_anchor_and_the_nearest() -> None:
    state_NE = np.array([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]])
    cosine_NA = cosines(state_NE, np.array([[1.0, 0.0], [0.0, 5.0]]))
    assert cosine_NA[:2] == pytest.approx(np.array([[0.6, 0.8], [0.0, 1.0]]))
    assert np.isnan(cosine_NA[2]).all(), "a state of nothing is near nothing"
    assert nearest(cosine_NA)[:2] == pytest.approx([0.8, 1.0])
    assert np.isnan(nearest(cosine_NA)[2])


def test_anchors_take_their_nearest_in_turn_and_a_taken_one_costs_the_turn() -> None:
    # anchor 0 likes a, b, c; anchor 1 likes a, c, b
    cosine_NA = np.array([[0.9, 0.9], [0.8, 0.1], [0.7, 0.5]])
    # turn 0: a. turn 1: a again, lost. turn 2: b. turn 3: c.
    assert round_robin(cosine_NA, np.array(["a", "b", "c"])).tolist() == [0, 2, 3]


def test_equally_near_rows_go_by_their_ids_and_one_without_a_cosine_never_comes() -> None:
    cosine_NA = np.array([[0.5], [0.5], [np.nan]])
    assert round_robin(cosine_NA, np.array(["b", "a", "c"]))[:2].tolist() == [1, 0]
    assert np.isnan(round_robin(cosine_NA, np.array(["b", "a", "c"]))[2])


def taken(cosine_NA: np.ndarray) -> list[int]:
    """The rows in the order of a loop that pops each anchor's nearest."""
    left = [list(np.argsort(-column, kind="stable")) for column in cosine_NA.T]
    rows: list[int] = []
    while len(rows) < len(cosine_NA):
        for own in left:
            row = own.pop(0)
            if row not in rows:
                rows.append(row)
    return rows


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 100))
def test_the_order_is_that_of_the_loop(num_rows: int, num_anchors: int, seed: int) -> None:
    cosine_NA = np.random.default_rng(seed).integers(0, 4, (num_rows, num_anchors)) / 4
    ids = np.array([f"{n:02d}" for n in range(num_rows)])
    assert np.argsort(round_robin(cosine_NA, ids)).tolist() == taken(cosine_NA)
