"""How many rows each value and each length of answer gets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.curate.quotas import (
    apportion,
    divide,
    length_bins,
    length_edges,
    row_quotas,
    spread,
)
from nuggets_ray.errors import UserError

counts = st.lists(st.integers(0, 50), min_size=1, max_size=8)


def test_the_largest_remainders_get_the_rows_that_are_left() -> None:
    # exact shares of 10: 4.7, 3.3, 2.0
    assert apportion(10, [47, 33, 20]).tolist() == [5, 3, 2]
    assert apportion(2, [1, 1, 1]).tolist() == [1, 1, 0], "ties go to the first"
    assert apportion(10, [0.1, 0.2, 0.7]).tolist() == [1, 2, 7], "decimals, not floats"


@given(st.integers(0, 1000), counts.filter(any))
def test_shares_sum_to_the_rows_and_are_each_rounded_down_or_up(
    num: int, weights: list[int]
) -> None:
    shares = apportion(num, weights)
    assert shares.sum() == num
    exact = np.array([num * weight / sum(weights) for weight in weights])
    assert (np.abs(shares - exact) < 1 + 1e-9).all()


def test_what_one_cannot_fill_goes_to_the_others() -> None:
    assert divide(9, [1, 1, 1], np.array([1, 10, 10])).tolist() == [1, 4, 4]
    assert divide(9, [1, 1, 1], np.array([1, 2, 3])).tolist() == [1, 2, 3], "all there is"
    assert divide(4, [1, 0], np.array([2, 10])).tolist() == [2, 0], "no share, no rows"


@given(st.integers(0, 200), counts)
def test_equal_quotas_fill_all_that_can_be_filled_as_evenly_as_can_be(
    num: int, available: list[int]
) -> None:
    available_G = np.array(available)
    quota_G = divide(num, [1] * len(available), available_G)
    assert quota_G.sum() == min(num, available_G.sum())
    assert (quota_G <= available_G).all()
    free = quota_G < available_G
    if free.any():
        assert quota_G[free].max() - quota_G[free].min() <= 1
        assert quota_G[~free].max(initial=0) <= quota_G[free].max() + 1


def test_proportional_equal_and_given_quotas() -> None:
    values, eligible_G = ("chat", "code", "maths"), np.array([60, 30, 10])
    keys = {"rule": "top_k", "k": 20, "per": "task"}

    def quotas(available: list[int], **more: object) -> list[int]:
        config = SelectConfig(**keys, **more)  # type: ignore[arg-type]
        return row_quotas(config, 20, values, eligible_G, np.array(available)).tolist()

    assert quotas([60, 30, 10]) == [12, 6, 2]
    assert quotas([60, 30, 1]) == [13, 6, 1]
    assert quotas([60, 30, 10], divide="equal") == [7, 7, 6]
    assert quotas([60, 30, 2], divide="equal") == [9, 9, 2]
    assert quotas([60, 30, 2], quotas={"maths": 15.0, "chat": 5.0}) == [5, 0, 2], "left as given"
    assert quotas([60, 30, 10], quotas={"maths": 0.5, "code": 0.5}) == [0, 10, 10]
    with pytest.raises(UserError, match=r"select\.quotas\.math: .* there are chat, code, maths"):
        quotas([60, 30, 10], quotas={"math": 20.0})


def test_bins_are_those_of_the_selection_that_is_matched() -> None:
    edges = length_edges(np.arange(1, 101))
    assert edges.tolist() == [10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert length_bins(np.array([0, 10, 11, 90, 91, 5000]), edges).tolist() == [0, 0, 1, 8, 9, 9]
    assert length_edges(np.array([7, 7, 7])).tolist() == [], "one length is one bin"
    assert length_edges(np.array([5, 5, 5, 9])).tolist() == [5]


def test_a_bin_that_runs_out_is_filled_from_the_nearest() -> None:
    wanted = np.array([1, 1, 1, 1])
    assert spread(8, wanted, np.array([9, 9, 9, 9])).tolist() == [2, 2, 2, 2]
    assert spread(8, wanted, np.array([9, 9, 0, 3])).tolist() == [2, 3, 0, 3]
    assert spread(8, wanted, np.array([9, 3, 0, 2])).tolist() == [3, 3, 0, 2]
    assert spread(4, np.array([0, 0, 4]), np.array([9, 1, 0])).tolist() == [3, 1, 0]


@given(st.integers(0, 60), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), min_size=1))
def test_bins_are_filled_as_far_as_there_are_rows(num: int, bins: list[tuple[int, int]]) -> None:
    weight_B, available_B = (np.array(column) for column in zip(*bins, strict=True))
    weight_B[0] += 1  # some row has a length
    room_B = spread(num, weight_B, available_B)
    assert room_B.sum() == min(num, available_B.sum())
    assert (room_B <= available_B).all()
