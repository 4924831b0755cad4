"""Random anchors: the candidates with the smallest hash of seed and content_id.

A candidate's hash does not depend on the others, so the draw is the same whatever order, file
format or worker the rows come from.
"""

import hashlib
import heapq
from collections.abc import Sequence

from nuggets_ray.errors import UserError

DEFAULT_NUM = 100
"""Anchors that full scoring draws where anchors.num is not given."""


def random_ids(content_ids: Sequence[str], num: int, seed: int) -> list[str]:
    """The `num` distinct content_ids with the smallest sha256("{seed}:anchor:{content_id}"),
    smallest first.

    Raises UserError when there are fewer distinct content_ids than `num`.
    """
    distinct = set(content_ids)
    check_num(num, len(distinct))
    return heapq.nsmallest(num, distinct, key=lambda content_id: draw_hash(content_id, seed))


def draw_hash(content_id: str, seed: int) -> bytes:
    """What candidates are drawn by, smallest first."""
    return hashlib.sha256(f"{seed}:anchor:{content_id}".encode()).digest()


def check_num(num: int, num_distinct: int) -> None:
    """Raise UserError unless `num` anchors can be drawn from `num_distinct` different
    candidates."""
    if num < 1:
        raise UserError(f"anchors.num={num} leaves nothing to score against: it must be at least 1")
    if num > num_distinct:
        raise UserError(
            f"anchors.num={num} is more than the {num_distinct} different candidates there are: "
            "lower it, or take the anchors from a file (anchors=file anchors.path=...)"
        )
