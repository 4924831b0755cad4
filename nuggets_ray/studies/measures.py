"""How rows are ranked from their deltas on some of the anchors: the golden score, and what stands
beside it.

    golden_score        share of the anchors with delta > 0, ties by mean delta
    standardised_delta  mean of delta over the anchor's own spread among the rows
    posterior_score     win share expected over infinitely many such anchors

Legend: N rows, A anchors, S anchors of a subset.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nuggets_ray.schedule.posterior import posterior_of_run
from nuggets_ray.schedule.race import RaceSettings
from nuggets_ray.schedule.seen import ALL, Entrants, Seen, SeenPart
from nuggets_ray.signals.standardised_delta import Spread, standardised_delta


@dataclass(frozen=True, slots=True)
class Ranking:
    """A score a row, higher is better, and what tells equal ones apart: both (N,)."""

    score_N: np.ndarray
    tie_N: np.ndarray

    def top(self, num_kept: int) -> np.ndarray:
        """The rows that are kept, best first."""
        order: np.ndarray = np.lexsort((-self.tie_N, -self.score_N))
        return order[:num_kept]

    def num_tied(self, num_kept: int) -> int:
        """How many rows share the score of the last one that is kept."""
        last = self.score_N[self.top(num_kept)[-1]]
        return int(np.count_nonzero(self.score_N == last))


def golden_score(delta_NS: np.ndarray) -> Ranking:
    known_N = np.maximum(np.count_nonzero(~np.isnan(delta_NS), axis=1), 1)
    wins_N = np.count_nonzero(delta_NS > 0, axis=1)
    return Ranking(wins_N / known_N, np.nansum(delta_NS, axis=1) / known_N)


def of_standardised_delta(delta_NS: np.ndarray) -> Ranking:
    spread = Spread(delta_NS.shape[1])
    spread.add(delta_NS)
    score_N = np.nan_to_num(standardised_delta(delta_NS, spread.sd_A))
    return Ranking(score_N, np.zeros_like(score_N))


def posterior_score(delta_NS: np.ndarray) -> Ranking | None:
    """None where there are too few rows or anchors for it."""
    num_rows, num_anchors = delta_NS.shape
    rows = np.arange(num_rows)
    # rows in the order of their ids are in no order that means anything
    entrants = Entrants(rows.astype(np.uint64), np.ones(num_rows), np.ones(num_anchors))
    part = SeenPart(rows, np.arange(num_anchors), delta_NS)
    seen = Seen(np.full(num_rows, ALL), [], lambda: [part])
    found = posterior_of_run(entrants, seen, RaceSettings(max(1, num_rows // 20)))
    if isinstance(found, str):
        return None
    return Ranking(found.score_N, np.zeros(num_rows))


MEASURES: dict[str, Callable[[np.ndarray], Ranking | None]] = {
    "golden_score": golden_score,
    "standardised_delta": of_standardised_delta,
    "posterior_score": posterior_score,
}
