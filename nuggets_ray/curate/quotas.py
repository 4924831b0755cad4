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
    weight_G = np.asarray(weights, float)
    while (missing := min(num, int(available_G.sum())) - int(quota_G.sum())) > 0:
        open_ = np.flatnonzero((quota_G < available_G) & (weight_G > 0))
        if not len(open_):
            break
        more = apportion(missing, [weights[group] for group in open_])
        quota_G[open_] = np.minimum(quota_G[open_] + more, available_G[open_])
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
    return np.minimum(wanted_G, available_G)


def _named(values: Sequence[str], at_most: int = 20) -> str:
    more = f", ... ({len(values) - at_most} more)" if len(values) > at_most else ""
    return ", ".join(values[:at_most]) + more


def length_edges(target_lengths: np.ndarray) -> np.ndarray:
    """The upper ends of bins that hold about equally many of these lengths, but for the last bin,
    which has none: (B - 1,), ascending. Rows of one length share a bin.
    """
    inner = np.linspace(0, 1, NUM_BINS + 1)[1:-1]
    edges = np.unique(np.quantile(target_lengths, inner, method="inverted_cdf"))
    return edges[edges < target_lengths.max()]


def length_bins(lengths_N: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The bin of each length: (N,)."""
    return np.searchsorted(edges, lengths_N, side="left")


def spread(num: int, weight_B: np.ndarray, available_B: np.ndarray) -> np.ndarray:
    """`num` rows over bins of length in proportion to `weight_B`; what a bin cannot fill goes to
    the nearest bin that can, of two the shorter. The sum is `num`, or all that is available.
    """
    wanted_B = apportion(num, weight_B.tolist())
    room_B = np.minimum(wanted_B, available_B)
    for short in np.flatnonzero(wanted_B > available_B):
        missing = int(wanted_B[short] - available_B[short])
        for other in sorted(range(len(room_B)), key=lambda bin_: (abs(bin_ - short), bin_)):
            moved = min(missing, int(available_B[other] - room_B[other]))
            room_B[other] += moved
            missing -= moved
    return room_B
