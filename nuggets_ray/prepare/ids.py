"""Which rows of the data are candidates: copies, hold-out and limit decided from the ids alone
(numpy).

Arrays have shape (N,): one entry a row of the data, in order of source and row. content_id is ASCII
bytes (S32), empty where the row is skipped.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from nuggets_ray.errors import UserError

MAX_GROUP_BYTES = 32 << 20
MIN_BLOCK_BYTES = 256 << 10
MAX_BLOCK_BYTES = 16 << 20


def block_bytes(sizes: Sequence[int], limit: int | None) -> int:
    """Bytes of a block of rows: every core gets several, and a worker can hold a few.

    With a limit it is the least, since the sizes of the files say little then.
    """
    if limit is not None:
        return MIN_BLOCK_BYTES
    return min(max(sum(sizes) // 64, MIN_BLOCK_BYTES), MAX_BLOCK_BYTES)


def group_files(sizes: Sequence[int], limit: int | None) -> list[range]:
    """Consecutive files that one reader reads, as ranges of their indices.

    Small files share a reader. With a limit there is one reader for all, which stops at the limit.
    """
    if limit is not None:
        return [range(len(sizes))]
    groups: list[range] = []
    num_bytes = 0
    for i, size in enumerate(sizes):
        if groups and num_bytes + size <= MAX_GROUP_BYTES:
            groups[-1] = range(groups[-1].start, i + 1)
            num_bytes += size
        else:
            groups.append(range(i, i + 1))
            num_bytes = size
    return groups


def copy_numbers(content_id_N: np.ndarray) -> np.ndarray:
    """Shape (N,) int64: 1 for the first row with a content, 2, 3, ... for its copies, 0 for a
    skipped row.
    """
    order = np.argsort(content_id_N, kind="stable")
    ordered = content_id_N[order]
    is_first = np.ones(len(ordered), bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    place = np.arange(len(ordered))
    first_place = np.maximum.accumulate(np.where(is_first, place, 0))
    copy_N = np.empty(len(ordered), np.int64)
    copy_N[order] = place - first_place + 1
    copy_N[content_id_N == b""] = 0
    return copy_N


def example_ids(content_ids: Sequence[str], copies: Sequence[int]) -> list[str]:
    """content_id for the first copy, content_id-2, content_id-3, ... for the others."""
    return [
        content_id if copy == 1 else f"{content_id}-{copy}"
        for content_id, copy in zip(content_ids, copies, strict=True)
    ]


def draw_held_out(content_id_N: np.ndarray, num: int, seed: int) -> np.ndarray:
    """The `num` contents with the smallest sha256("seed:holdout:content_id"), shape (num,) S32.

    Depends on the set of contents only; copies count once. UserError where no candidate would be
    left.
    """
    distinct = np.unique(content_id_N[content_id_N != b""])
    if num == 0:
        return distinct[:0]
    if num >= len(distinct):
        raise UserError(
            f"data.holdout={num} leaves nothing to score: the data has {len(distinct)} distinct "
            "rows, hold out fewer"
        )
    salt = f"{seed}:holdout:".encode()
    drawn = sorted(
        distinct.tolist(), key=lambda content_id: hashlib.sha256(salt + content_id).digest()
    )
    return np.array(drawn[:num], distinct.dtype)
