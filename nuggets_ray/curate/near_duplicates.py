"""Near-duplicates of better rows (select.max_similarity), by MinHash.

    J(a, b) = |A & B| / |A | B|,   A, B: the sets of word 5-grams of the rows' texts
MinHash in bands (Broder 1997; Leskovec et al., Mining of Massive Datasets, 3.4) proposes pairs,
datasketch's; J is then computed exactly from 32-bit hashes of the 5-grams, so that nothing below
the bound is left out. A pair at the very bound is overlooked 1 time in 100, one above it less
often. A row of 200 words takes 0.5 ms and 7 kB.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from nuggets_ray.data.shingles import Shingles
from nuggets_ray.errors import UserError

NUM_PERMUTATIONS = 128
MISSED = 0.01
"""The share of pairs at the very bound that may be overlooked."""

ReadHashes = Callable[[np.ndarray], list[np.ndarray]]
"""Indices of rows -> the hashes of each one's word 5-grams."""


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """A row that was left out for a better one, `twin` (indices of Scores), as like it as
    `similarity` (J).
    """

    row: int
    twin: int
    similarity: float


class HashedRows:
    """The hashed 5-grams of rows, read once, many at a time."""

    def __init__(self, read: ReadHashes) -> None:
        self._read = read
        self._hashes: dict[int, np.ndarray] = {}

    def read(self, rows: np.ndarray) -> None:
        """Make these rows known."""
        new = np.array([row for row in rows.tolist() if row not in self._hashes], np.int64)
        if len(new):
            self._hashes.update(zip(new.tolist(), self._read(new), strict=True))

    def __getitem__(self, row: int) -> np.ndarray:
        return self._hashes[row]


class KeptRows:
    """The rows that stay, to hold the next one against."""

    def __init__(self, hashed: HashedRows, max_similarity: float) -> None:
        from datasketch import MinHash, MinHashLSH

        self.hashed = hashed
        self.dropped: list[NearDuplicate] = []
        self._max_similarity = max_similarity
        self._empty = MinHash(NUM_PERMUTATIONS, hashfunc=int)  # they are hashed already
        params = _bands(max_similarity)
        self._lsh = MinHashLSH(num_perm=NUM_PERMUTATIONS, params=params)

    def keeps(self, row: int) -> bool:
        """Whether the row stays; the one that it is a twin of came before, so is better."""
        hashes = self.hashed[row]
        sketch = self._empty.copy()
        sketch.update_batch(hashes.tolist())
        twins = [(_jaccard(hashes, self.hashed[kept]), kept) for kept in self._lsh.query(sketch)]
        similarity, twin = max(twins, key=lambda one: (one[0], -one[1]), default=(0.0, -1))
        if similarity >= self._max_similarity:
            self.dropped.append(NearDuplicate(row, twin, similarity))
            return False
        self._lsh.insert(row, sketch)
        return True


def check_installed(needed_by: str) -> None:
    """Raise UserError where datasketch is missing, as after an update of the code alone."""
    if find_spec("datasketch") is None:
        raise UserError(
            f"{needed_by} needs the package datasketch, which is not installed: "
            "pip install 'datasketch>=2,<3'"
        )


def hashes_of(shingles: Shingles) -> np.ndarray:
    """The 32-bit hashes of a text's 5-grams, ascending: (5-grams,) uint32."""
    from datasketch.hashfunc import sha1_hash32

    hashes: Iterable[int] = {sha1_hash32(" ".join(words).encode()) for words in shingles}
    return np.sort(np.fromiter(hashes, np.uint32))


def num_near_duplicates(hashes: Sequence[np.ndarray], min_similarity: float) -> int:
    """How many of the rows have a better one that is as like them, in the order given."""
    hashed = HashedRows(lambda rows: [hashes[row] for row in rows])
    hashed.read(np.arange(len(hashes)))
    kept = KeptRows(hashed, min_similarity)
    return sum(not kept.keeps(row) for row in range(len(hashes)))


def _bands(max_similarity: float) -> tuple[int, int]:
    """(bands, rows of a band): the longest bands that overlook a pair at the bound no more often
    than MISSED; a pair of similarity s meets in one of b bands of r with 1 - (1 - s^r)^b.
    """
    choices: list[tuple[int, int]] = [
        (NUM_PERMUTATIONS // length, length) for length in range(1, NUM_PERMUTATIONS // 2 + 1)
    ]
    return [
        (bands, length)
        for bands, length in choices
        if (1 - max_similarity**length) ** bands <= MISSED
    ][-1]


def _jaccard(one: np.ndarray, other: np.ndarray) -> float:
    num_shared = len(np.intersect1d(one, other, assume_unique=True))
    return num_shared / (len(one) + len(other) - num_shared)
