"""Stratified anchors: each stratum of the candidates gives its share, drawn by hash as random
anchors are.

A stratum is a value of a field of the rows, or a k-means cluster of the model's hidden states.
Proportional shares are rounded by the largest remainder, ties by a seeded hash of the stratum;
equal ones are capped at what a stratum holds, and the others share what is left.
"""

import hashlib
import heapq
import logging
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from nuggets_ray.anchors.random import check_num, draw_hash
from nuggets_ray.errors import UserError

logger = logging.getLogger(__name__)

MAX_SHOWN = 8


def stratified_ids(
    stratum_of: Mapping[str, str], num: int, seed: int, divide: str, what: str
) -> list[str]:
    """`num` of the content_ids in {content_id: stratum}, smallest hash first.

    `divide`: proportional or equal; `what` names the strata in messages ("anchors.per=topic").
    Raises UserError where there are fewer content_ids than `num`, or more strata than anchors to
    share equally.
    """
    check_num(num, len(stratum_of))
    members: dict[str, list[str]] = defaultdict(list)
    for content_id, stratum in stratum_of.items():
        members[stratum].append(content_id)
    sizes = {stratum: len(ids) for stratum, ids in members.items()}
    if divide == "equal" and len(sizes) > num:
        raise UserError(
            f"{what} has {len(sizes)} different values, which anchors.num={num} anchors cannot "
            "share equally: raise anchors.num, or take anchors.divide=proportional"
        )
    shares = (_equal if divide == "equal" else _proportional)(sizes, num, seed)
    _tell(what, sizes, shares)
    chosen = [
        content_id
        for stratum, share in shares.items()
        for content_id in heapq.nsmallest(share, members[stratum], key=lambda i: draw_hash(i, seed))
    ]
    return sorted(chosen, key=lambda content_id: draw_hash(content_id, seed))


def _proportional(sizes: Mapping[str, int], num: int, seed: int) -> dict[str, int]:
    """By size, the largest remainders rounded up."""
    total = sum(sizes.values())
    shares = {stratum: num * size // total for stratum, size in sizes.items()}
    remainder = {stratum: num * size % total for stratum, size in sizes.items()}
    order = sorted(sizes, key=lambda stratum: (-remainder[stratum], _tie(stratum, seed)))
    for stratum in order[: num - sum(shares.values())]:
        shares[stratum] += 1
    return shares


def _equal(sizes: Mapping[str, int], num: int, seed: int) -> dict[str, int]:
    """As equal as the sizes allow: strata too small for their share give all they have."""
    shares: dict[str, int] = {}
    for stratum in sorted(sizes, key=lambda stratum: (sizes[stratum], _tie(stratum, seed))):
        left = num - sum(shares.values())
        shares[stratum] = min(sizes[stratum], left // (len(sizes) - len(shares)))
    return shares


def _tie(stratum: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:stratum:{stratum}".encode()).digest()


def _tell(what: str, sizes: Mapping[str, int], shares: Mapping[str, int]) -> None:
    largest = sorted(sizes, key=lambda stratum: (-sizes[stratum], stratum))
    shown = ", ".join(
        f"{stratum or '(none)'} {shares[stratum]} (of {sizes[stratum]} rows)"
        for stratum in largest[:MAX_SHOWN]
    )
    more = f", and {len(largest) - MAX_SHOWN} more" if len(largest) > MAX_SHOWN else ""
    logger.info("anchors by %s: %s%s", what, shown, more)
    num_without = list(shares.values()).count(0)
    if num_without:
        num_rows = int(np.sum([sizes[stratum] for stratum, share in shares.items() if not share]))
        logger.warning(
            "%s: %d of its %d values, with %d rows in all, are too small for an anchor: raise "
            "anchors.num, or take anchors.divide=equal",
            *(what, num_without, len(sizes), num_rows),
        )
