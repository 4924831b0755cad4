"""Mean standardised delta: how much a row helps, each anchor counted in its own spread.

    standardised_delta(n) = mean over anchors a of  delta(n, a) / sd over rows of delta(., a)

The mean delta in nats is ruled by the few anchors with a large spread; over its spread each counts
alike (the size of a delta, which the golden score of arXiv 2312.10302 leaves out, is in it). An
anchor that moves for no row is left out. Legend: N rows, A anchors.
"""

import numpy as np


class Spread:
    """The spread of each anchor's delta over rows that come a part at a time."""

    def __init__(self, num_anchors: int) -> None:
        self._count_A = np.zeros(num_anchors)
        self._sum_A, self._square_A = np.zeros(num_anchors), np.zeros(num_anchors)

    def add(self, delta_NA: np.ndarray) -> None:
        """Count these rows in; NaN is left out."""
        delta_NA = delta_NA.astype(np.float64)
        self._count_A += (~np.isnan(delta_NA)).sum(axis=0)
        self._sum_A += np.nansum(delta_NA, axis=0)
        self._square_A += np.nansum(delta_NA**2, axis=0)

    @property
    def sd_A(self) -> np.ndarray:
        """Standard deviation of each anchor, (A,); NaN where it is 0 or nothing is known."""
        with np.errstate(divide="ignore", invalid="ignore"):
            mean_A = self._sum_A / self._count_A
            variance_A = np.maximum(self._square_A / self._count_A - mean_A**2, 0)
        # what is left of equal numbers after rounding is no spread
        is_spread_A = variance_A > 1e-12 * (mean_A**2 + 1e-12)
        sd_A: np.ndarray = np.sqrt(np.where(is_spread_A, variance_A, np.nan))
        return sd_A


def standardised_delta(delta_NA: np.ndarray, sd_A: np.ndarray) -> np.ndarray:
    """Of each row, (N,) float64: NaN of a delta (the row itself as an anchor) and anchors without a
    spread are left out of its mean; NaN where nothing is left."""
    ratio_NA = delta_NA.astype(np.float64) / sd_A
    is_known_NA = ~np.isnan(ratio_NA)
    count_N = is_known_NA.sum(axis=1)
    total_N = np.where(is_known_NA, ratio_NA, 0.0).sum(axis=1)
    return np.where(count_N > 0, total_N / np.maximum(count_N, 1), np.nan)
