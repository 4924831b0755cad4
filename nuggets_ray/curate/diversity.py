"""Diverse rows of a pool (select.diversity): the greedy choices, under room for each cell.

k-center greedy (Sener and Savarese, 1708.00489): the row farthest from those chosen, so the edges
of what there is; facility location (a submodular function; Wei et al. 2015, lazily as Minoux 1978):
the row that all others gain most from, so the middles of its clusters. Greedy facility location has
at least 1 - 1/e of the best possible value, 1/2 under room for each cell (Fisher et al. 1978).

Legend: P rows of the pool, best first, D dimensions, C cells.
"""

import heapq
from collections.abc import Callable

import numpy as np

NUM_DIMENSIONS = 256


def reduced(hidden_PH: np.ndarray) -> np.ndarray:
    """The vectors in at most NUM_DIMENSIONS: (P, D) float32, by one random projection, which keeps
    distances within about a tenth (Johnson and Lindenstrauss 1984); narrower ones as they are.
    """
    width = hidden_PH.shape[1]
    if width <= NUM_DIMENSIONS:
        return hidden_PH.astype(np.float32)
    projection_HD = np.random.default_rng(0).standard_normal((width, NUM_DIMENSIONS), np.float32)
    return (hidden_PH @ projection_HD / np.float32(NUM_DIMENSIONS**0.5)).astype(np.float32)


def directions(vector_PD: np.ndarray) -> np.ndarray:
    """The vectors from their mean, each of length 1: hidden states of a model share a direction,
    which would make all cosines alike.
    """
    centred_PD = vector_PD - vector_PD.mean(axis=0, dtype=np.float64).astype(np.float32)
    length_P = np.linalg.norm(centred_PD, axis=1, keepdims=True)
    unit_PD: np.ndarray = centred_PD / np.maximum(length_P, 1e-12)
    return unit_PD


def k_center(unit_PD: np.ndarray, cell_P: np.ndarray, room_C: np.ndarray) -> np.ndarray:
    """The places in the pool that are chosen, in the order of choice: first the best row, then
    each time the row with the smallest cosine to the nearest of those chosen; of equals the better.
    Takes P x K x D multiplications for K rows.
    """
    room_C = room_C.copy()
    is_open_P = room_C[cell_P] > 0
    nearest_P = np.full(len(unit_PD), -np.inf, np.float32)  # cosine
    chosen: list[int] = []
    while is_open_P.any():
        place = int(np.argmin(np.where(is_open_P, nearest_P, np.inf)))
        chosen.append(place)
        is_open_P[place] = False
        room_C[cell_P[place]] -= 1
        if not room_C[cell_P[place]]:
            is_open_P &= cell_P != cell_P[place]
        nearest_P = np.maximum(nearest_P, unit_PD @ unit_PD[place])
    return np.array(chosen, np.int64)


def facility_location(unit_PD: np.ndarray, cell_P: np.ndarray, room_C: np.ndarray) -> np.ndarray:
    """The places in the pool that are chosen, in the order of choice: each time the row that adds
    most to the sum over the pool of each row's likeness, (1 + cosine) / 2, to the chosen row most
    like it; of equals the better.

    Lazy: a row's gain only falls, so the best of those computed anew is the best of all. Holds P x
    D numbers, and takes P x D multiplications for each gain, of which there are several a row.
    """
    room_C = room_C.copy()
    num_rows = len(unit_PD)
    covered_P = np.zeros(num_rows, np.float32)
    # of the first row all likeness is gained, and its sum over the pool is linear
    gain_P = (num_rows + unit_PD @ unit_PD.sum(axis=0)) / 2
    heap = [(-float(gain), place, 0) for place, gain in enumerate(gain_P)]
    heapq.heapify(heap)
    chosen: list[int] = []
    while heap and room_C.any():
        gain, place, when = heapq.heappop(heap)
        if not room_C[cell_P[place]]:
            continue
        likeness_P = (1 + unit_PD @ unit_PD[place]) / 2
        if when < len(chosen):
            gain = -float(np.maximum(likeness_P - covered_P, 0).sum(dtype=np.float64))
            heapq.heappush(heap, (gain, place, len(chosen)))
            continue
        chosen.append(place)
        room_C[cell_P[place]] -= 1
        covered_P = np.maximum(covered_P, likeness_P)
    return np.array(chosen, np.int64)


CHOICES: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "k_center": k_center,
    "facility_location": facility_location,
}
