"""Rankings by anchor sets: by one of several, or a mixture to which each gives its share of the
rows (numpy only).

Of a mixture the next rank is the best row that no set has given yet, of the set that is furthest
behind its share; so of the first K rows each set gave its share of K, to a row.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class SetScores:
    """The golden score and the mean delta of every row on the anchors of one set, (N,) float64
    each; NaN where a row has none.
    """

    golden_score: np.ndarray
    mean_delta: np.ndarray

    def rank(self, example_ids: np.ndarray, order: str) -> np.ndarray:
        """The rows that have a score, best (or worst, under order=bottom) first; ties by mean
        delta, then example_id."""
        sign = -1.0 if order == "top" else 1.0
        ranked = np.lexsort((example_ids, sign * self.mean_delta, sign * self.golden_score))
        return np.compress(~np.isnan(self.golden_score[ranked]), ranked)


def rank_mixture(
    sets: Mapping[str, SetScores],
    shares: Mapping[str, float],
    example_ids: np.ndarray,
    is_eligible_N: np.ndarray,
    order: str,
) -> tuple[np.ndarray, np.ndarray]:
    """`mix` of the rankings of the eligible rows by the sets of `shares`."""
    rankings = {name: sets[name].rank(example_ids, order) for name in shares}
    rankings = {name: ranked[is_eligible_N[ranked]] for name, ranked in rankings.items()}
    return mix(rankings, shares, len(example_ids))


def mix(
    rankings: Mapping[str, np.ndarray], shares: Mapping[str, float], num_rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of all rankings in the order of the mixture, (R,), and which set gave each, as its
    place in `rankings`, (R,).

    `rankings` {set: rows, best first}, of rows 0 to `num_rows` - 1; `shares` sum to 1. A set that
    has no rows left leaves the others theirs.
    """
    iterators = [iter(ranking.tolist()) for ranking in rankings.values()]
    share_S = np.array([shares[name] for name in rankings])
    num_given_S = np.zeros(len(share_S))
    is_given_N = np.zeros(num_rows, bool)
    rows: list[int] = []
    given_by: list[int] = []
    while np.isfinite(num_given_S).any():
        behind_S = share_S * (len(rows) + 1) - num_given_S
        chosen = int(np.argmax(behind_S))
        row = next((row for row in iterators[chosen] if not is_given_N[row]), None)
        if row is None:
            num_given_S[chosen] = np.inf
            continue
        is_given_N[row] = True
        num_given_S[chosen] += 1
        rows.append(row)
        given_by.append(chosen)
    return np.array(rows, np.int64), np.array(given_by, np.int64)
