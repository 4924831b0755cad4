"""A seeded random order of rows: what every selector has to beat, and at scale few do (arXiv
2410.09335, 2410.15225). Hashed a row, so that its place does not depend on the other rows.
"""

import hashlib
from collections.abc import Iterable

import numpy as np


def random_order(example_ids: Iterable[str], seed: int, draw: int) -> np.ndarray:
    """The rows in the order of a draw, as indices."""
    start = f"{seed}:random-{draw}:".encode()
    digests = [hashlib.sha256(start + id.encode()).hexdigest() for id in example_ids]
    return np.argsort(np.array(digests, dtype="S64"))
