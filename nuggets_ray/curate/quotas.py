"""How many rows each value of a field gets (select.per), and each length of answer
(select.match_length).

Legend: G groups (values of the field), B bins of answer length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.config.select_steps import is_shares
from nuggets_ray.errors import UserError

NUM_BINS = 10
"""Bins of answer length: the deciles of the selection that is matched."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where rows are from: `name` of a field (or "file"), its `values`, and for each row the index
    of its value, -1 for none: (N,).
    """

    name: str
    values: tuple[str, ...]
    value_N: np.ndarray


def apportion(num: int, weights: Sequence[float]) -> np.ndarray:
    """`num` rows in proportion to weights (G,), by largest remainder (Hamilton's method): the sum
    is `num`, and each is its share rounded down or up. Ties go to the first. The sum of the weights
    is above 0.
    """
    exact = [Fraction(str(weight)) for weight in weights]
    total = sum(exact, Fraction(0))
    shares = [num * weight / total for weight in exact]
    floor_G = np.array([int(share) for share in shares], np.int64)
    remainders = [share - int(share) for share in shares]
    largest = sorted(range(len(shares)), key=lambda group: (-remainders[group], group))
    floor_G[largest[: num - int(floor_G.sum())]] += 1
    return floor_G


def divide(num: int, weights: Sequence[float], available_G: np.ndarray) -> np.ndarray:
    """The same, but no group gets more than it has: what one cannot fill goes to the others, in
    proportion to their weights. The sum is `num`, or less where all that there is is taken.
    """
    quota_G = np.zeros(len(available_G), np.int64)
    open_ = np.flatnonzero(np.asarray(weights, float) > 0)
    while len(open_):
        share_G = apportion(num, [weights[group] for group in open_])
        is_short = share_G > available_G[open_]
        if not is_short.any():
            quota_G[open_] = share_G
            break
        short = open_[is_short]
        quota_G[short] = available_G[short]
        num -= int(available_G[short].sum())
        open_ = open_[~is_short]
    return quota_G


def row_quotas(
    config: SelectConfig,
    num: int,
    values: Sequence[str],
    eligible_G: np.ndarray,
    available_G: np.ndarray,
) -> np.ndarray:
    """The rows of each value, of `num` in all: (G,).

    Proportional to the eligible rows, or equal: what a value has not `available` goes to the
    others. Given ones (select.quotas) stay as they are. Raises UserError for a given value that no
    eligible row has.
    """
    if not config.quotas:
        weights = eligible_G if config.divide == "proportional" else np.minimum(eligible_G, 1)
        return divide(num, weights.tolist(), available_G)
    for value in config.quotas:
        if value not in values:
            raise UserError(
                f"select.quotas.{value}: no eligible row has {config.per}={value}; there are "
                f"{_named(values)}"
            )
    given = [config.quotas.get(value, 0) for value in values]
    wanted_G = apportion(num, given) if is_shares(config.quotas) else np.array(given, np.int64)
    quota_G: np.ndarray = np.minimum(wanted_G, available_G)
    return quota_G


def _named(values: Sequence[str], at_most: int = 20) -> str:
    more = f", ... ({len(values) - at_most} more)" if len(values) > at_most else ""
    return ", ".join(values[:at_most]) + more


def length_edges(target_lengths: np.ndarray) -> np.ndarray:
    """The upper ends of bins that hold about equally many of these lengths, but for the last bin,
    which has none: (B - 1,), ascending. Rows of one length share a bin.
    """
    ordered = np.sort(target_lengths)
    # the last row of each tenth, of which the last of all is no end
    ends = [-(-len(ordered) * tenth // NUM_BINS) - 1 for tenth in range(1, NUM_BINS)]
    edges = np.unique(ordered[ends])
    inner: np.ndarray = edges[edges < ordered[-1]]
    return inner


def length_bins(lengths_N: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The bin of each length: (N,)."""
    return np.searchsorted(edges, lengths_N, side="left")


def spread(num: int, weight_B: np.ndarray, available_B: np.ndarray) -> np.ndarray:
    """`num` rows over bins of length in proportion to `weight_B`; what a bin cannot fill goes to
    the nearest bins that can, shorter and longer ones alike. The sum is `num`, or all that is
    available.
    """
    wanted_B = apportion(num, weight_B.tolist())
    room_B: np.ndarray = np.minimum(wanted_B, available_B)
    for short in np.flatnonzero(wanted_B > available_B):
        missing = int(wanted_B[short] - available_B[short])
        for distance in range(1, len(room_B)):
            sides = [short - distance, short + distance]
            near = np.array([side for side in sides if 0 <= side < len(room_B)], int)
            moved = divide(missing, [1] * len(near), (available_B - room_B)[near])
            room_B[near] += moved
            missing -= int(moved.sum())
    return room_B
