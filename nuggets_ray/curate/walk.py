"""The walk down a ranking: the best rows that there is room for, and that no better row is like."""

import numpy as np

from nuggets_ray.curate.near_duplicates import KeptRows

SPARE = 256
"""Rows that are read beyond those that there is room for, so that near-duplicates have others."""


def walk(
    ranked_R: np.ndarray, cell_N: np.ndarray, room_C: np.ndarray, kept: KeptRows | None
) -> np.ndarray:
    """The rows that stay, best first: at most `room_C[c]` of each cell c, `cell_N` being the cell
    of each row.

    Only as much of the ranking is looked at as it takes to fill the room; `kept` reads the texts of
    the rows that come into question, a block at a time.
    """
    room_C = room_C.copy()
    stays: list[int] = []
    start = 0
    while start < len(ranked_R) and room_C.any():
        is_open = room_C[cell_N[ranked_R[start:]]] > 0
        places = start + np.flatnonzero(is_open)[: int(room_C.sum()) * 5 // 4 + SPARE]
        if not len(places):
            break
        rows = ranked_R[places]
        if kept is not None:
            kept.hashed.read(rows)
        for row in rows.tolist():
            cell = cell_N[row]
            if room_C[cell] and (kept is None or kept.keeps(row)):
                room_C[cell] -= 1
                stays.append(row)
        start = int(places[-1]) + 1
    return np.array(stays, np.int64)
