"""Copies, hold-out and grouping against their plain definitions."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuggets_ray.errors import UserError
from nuggets_ray.prepare.ids import (
    MAX_GROUP_BYTES,
    copy_numbers,
    draw_held_out,
    example_ids,
    group_files,
)

IDS = st.lists(st.sampled_from(["", "a" * 32, "b" * 32, "c" * 32]), max_size=30)


def array(ids: list[str]) -> np.ndarray:
    return np.array(ids, "S32")


@given(ids=IDS)
def test_copies_count_up_in_order_of_the_rows(ids: list[str]) -> None:
    expected = [0 if not x else ids[: i + 1].count(x) for i, x in enumerate(ids)]
    assert copy_numbers(array(ids)).tolist() == expected


def test_example_ids() -> None:
    assert example_ids(["a", "b", "a", "a"], [1, 1, 2, 3]) == ["a", "b", "a-2", "a-3"]


def test_holdout_is_the_smallest_hashes_whatever_the_order_and_the_copies() -> None:
    ids = [f"{i:032x}" for i in range(50)]
    expected = sorted(ids, key=lambda x: hashlib.sha256(f"7:holdout:{x}".encode()).digest())[:5]
    drawn = draw_held_out(array([*reversed(ids), "", *ids]), 5, seed=7)
    assert [x.decode() for x in drawn.tolist()] == expected
    assert set(draw_held_out(array(ids), 5, seed=8).tolist()) != set(drawn.tolist())
    assert len(draw_held_out(array(ids), 0, seed=7)) == 0


def test_a_holdout_of_everything_is_an_error() -> None:
    with pytest.raises(UserError, match=r"data\.holdout=2"):
        draw_held_out(array(["a", "b", "a", ""]), 2, seed=0)


@given(sizes=st.lists(st.integers(0, MAX_GROUP_BYTES * 2), min_size=1, max_size=30))
def test_groups_are_consecutive_and_small_files_share_one(sizes: list[int]) -> None:
    groups = group_files(sizes, limit=None)
    assert [i for group in groups for i in group] == list(range(len(sizes)))
    for group in groups:
        assert len(group) == 1 or sum(sizes[i] for i in group) <= MAX_GROUP_BYTES
    assert group_files(sizes, limit=5) == [range(len(sizes))]
