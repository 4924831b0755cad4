"""Cells of a value and a length, and the room of each."""

import numpy as np

from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.curate.cells import make_cells
from nuggets_ray.curate.quotas import Sources
from nuggets_ray.select import Scores

IDS = np.array([f"c{number}" for number in range(8)], dtype=object)
SCORES = Scores(IDS, IDS, np.ones(8), np.ones(8), np.array([1, 1, 9, 9, 1, 1, 9, 9]))
SOURCES = Sources("task", ("maths", "chat", "code"), np.array([0, 0, 0, 0, 1, 1, 1, 2]))
ALL = np.ones(8, bool)


def test_values_come_by_name_and_lengths_within_them() -> None:
    cells = make_cells(SCORES, ALL, SOURCES, np.array([1, 1, 1, 9]))
    assert cells.values == ("chat", "code", "maths") and cells.weight_B.tolist() == [3, 1]
    assert cells.cell_N.tolist() == [4, 4, 5, 5, 0, 0, 1, 3]
    assert cells.count(np.arange(8)).tolist() == [2, 1, 0, 1, 2, 2]
    assert cells.groups(cells.count(np.arange(8))).tolist() == [3, 1, 4]


def test_values_that_no_eligible_row_has_are_none() -> None:
    cells = make_cells(SCORES, np.arange(8) < 7, SOURCES, None)
    assert cells.values == ("chat", "maths") and cells.num_cells == 2


def test_without_either_there_is_one_cell() -> None:
    cells = make_cells(SCORES, ALL, None, None)
    assert cells.num_cells == 1 and set(cells.cell_N.tolist()) == {0}


def test_quotas_come_first_and_lengths_within_them() -> None:
    cells = make_cells(SCORES, ALL, SOURCES, np.array([1, 9]))
    there_C = cells.count(np.arange(8))
    config = SelectConfig("top_k", k=4, per="task", divide="equal")
    room = cells.room(config, 4, there_C, there_C)
    assert room.quota_G.tolist() == [2, 1, 1]
    # code has long answers only, where the first half of one row is a short one
    assert room.room_C.tolist() == [1, 1, 0, 1, 1, 0] and room.num_moved == 1
