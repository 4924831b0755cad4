"""Where ids stand among a million others, asked piece by piece."""

import numpy as np


class Lookup:
    """Finds places in `ids_N`, which are sorted once: pieces are many, and a hash of all ids for
    each would take longer than reading it."""

    def __init__(self, ids_N: np.ndarray) -> None:
        self._ids_N = np.asarray(ids_N, dtype=str)
        self._order_N = np.argsort(self._ids_N, kind="stable")

    def find(self, ids: np.ndarray) -> np.ndarray:
        """The first index of each id, int64, -1 where it is not there."""
        asked = np.asarray(ids, dtype=str)
        if not len(self._order_N):
            return np.full(len(asked), -1)
        place = np.searchsorted(self._ids_N, asked, sorter=self._order_N)
        index = self._order_N[place.clip(max=len(self._order_N) - 1)]
        return np.where(self._ids_N[index] == asked, index, -1)
