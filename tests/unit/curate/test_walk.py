"""The walk down a ranking: what stays, and how much is looked at."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nuggets_ray.curate.walk import walk


def test_each_cell_takes_its_best_rows() -> None:
    ranked = np.array([4, 0, 3, 1, 2])
    cells = np.array([0, 0, 1, 1, 1])  # of rows 0 to 4
    assert walk(ranked, cells, np.array([1, 2]), None).tolist() == [4, 0, 3]
    assert walk(ranked, cells, np.array([0, 9]), None).tolist() == [4, 3, 2]
    assert walk(ranked, cells, np.array([0, 0]), None).tolist() == []


@given(
    st.lists(st.integers(0, 3), max_size=900),
    st.lists(st.integers(0, 200), min_size=4, max_size=4),
    st.randoms(use_true_random=False),
)
def test_it_is_the_first_rows_of_each_cell_in_the_order_of_the_ranking(
    cells: list[int], room: list[int], random: object
) -> None:
    ranked = np.array(random.sample(range(len(cells)), len(cells)), np.int64)  # type: ignore[attr-defined]
    cell_N = np.array(cells, np.int64)
    stays = walk(ranked, cell_N, np.array(room), None).tolist()
    expected = {
        row
        for cell in range(4)
        for row in [row for row in ranked.tolist() if cells[row] == cell][: room[cell]]
    }
    assert stays == [row for row in ranked.tolist() if row in expected]
