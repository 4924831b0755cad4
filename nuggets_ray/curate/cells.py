"""The cells that rows are chosen in: a value of select.per with a bin of answer length, and how
many rows each has room for.

Legend: N scored rows, G groups (values of the field), B bins of answer length, C = G x B cells.
"""

from dataclasses import dataclass

import numpy as np

from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.curate.quotas import Sources, length_bins, length_edges, row_quotas, spread
from nuggets_ray.select import Scores


@dataclass(frozen=True, slots=True)
class CellRoom:
    """`quota_G` rows of each value, `room_C` of each cell; `num_moved` rows are to come from
    another length than the one that is matched has, as there are none of that.
    """

    quota_G: np.ndarray
    room_C: np.ndarray
    num_moved: int


@dataclass(frozen=True, slots=True)
class Cells:
    """The cell of every row, `cell_N`; `values` (G) of select.per, one for all without it;
    `weight_B`: how many rows of the selection that is matched lie in each bin.
    """

    values: tuple[str, ...]
    weight_B: np.ndarray
    cell_N: np.ndarray

    @property
    def num_cells(self) -> int:
        return len(self.values) * len(self.weight_B)

    def count(self, rows: np.ndarray) -> np.ndarray:
        """How many of the rows lie in each cell: (C,)."""
        return np.bincount(self.cell_N[rows], minlength=self.num_cells)

    def groups(self, count_C: np.ndarray) -> np.ndarray:
        """The sums over the lengths: (G,)."""
        sums: np.ndarray = count_C.reshape(len(self.values), -1).sum(axis=1)
        return sums

    def room(
        self, config: SelectConfig, num: int, eligible_C: np.ndarray, available_C: np.ndarray
    ) -> CellRoom:
        """How many of `num` rows each cell is to give, where each has so many eligible rows, of
        which so many are left to choose from.
        """
        available_GB = available_C.reshape(len(self.values), -1)
        available_G = available_GB.sum(axis=1)
        quota_G = row_quotas(config, num, self.values, self.groups(eligible_C), available_G)
        room_GB = np.stack(
            [
                spread(int(quota), self.weight_B, available_B)
                for quota, available_B in zip(quota_G, available_GB, strict=True)
            ]
        )
        without_bounds = np.full(len(self.weight_B), num)
        wanted_GB = np.stack(
            [spread(int(quota), self.weight_B, without_bounds) for quota in quota_G]
        )
        num_moved = int(np.maximum(wanted_GB - room_GB, 0).sum())
        return CellRoom(quota_G, room_GB.ravel(), num_moved)


def make_cells(
    scores: Scores,
    is_eligible_N: np.ndarray,
    sources: Sources | None,
    target_lengths: np.ndarray | None,
) -> Cells:
    """The cells of all rows: by a field's values that eligible rows have, in the order of their
    names, and by the lengths of a selection. Without both there is one.
    """
    num_rows = len(scores.example_id)
    values: tuple[str, ...] = ("",)
    group_N = np.zeros(num_rows, np.int64)
    if sources is not None:
        values, group_N = _groups(sources, is_eligible_N)
    weight_B, bin_N = np.ones(1, np.int64), np.zeros(num_rows, np.int64)
    if target_lengths is not None:
        edges = length_edges(target_lengths)
        weight_B = np.bincount(length_bins(target_lengths, edges), minlength=len(edges) + 1)
        bin_N = length_bins(scores.num_answer_tokens, edges)
    return Cells(values, weight_B, group_N * len(weight_B) + bin_N)


def _groups(sources: Sources, is_eligible_N: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """The values that eligible rows have, by name, and the index of each row's: (N,); 0 where a row
    that is not eligible has another."""
    there = np.unique(sources.value_N[is_eligible_N])
    by_name = sorted(there.tolist(), key=lambda value: sources.values[value])
    group_of = np.zeros(len(sources.values), np.int64)
    group_of[by_name] = np.arange(len(by_name))
    return tuple(sources.values[value] for value in by_name), group_of[sources.value_N]
