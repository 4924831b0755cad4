"""A blend of signals: the weighted mean of a row's ranks, so that units do not matter.

    blend(n) = sum over signals s of weight(s) * rank(n, s) / (number of ranked rows - 1)

rank 0 is the worst; equal values share the mean of their ranks. A negative weight turns a signal
round. Rows that one of the signals has no value of are left out.
"""

from collections.abc import Mapping

import numpy as np


def blend(values: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    """The blend of each row, (N,) float64, from 0 to 1 where all weights are positive; NaN where a
    signal has no value."""
    from scipy.stats import rankdata

    is_known_N = np.all([~np.isnan(values[name]) for name in weights], axis=0)
    blend_N = np.full(len(is_known_N), np.nan)
    num_rows = int(is_known_N.sum())
    total = sum(abs(weight) for weight in weights.values())
    blend_N[is_known_N] = sum(
        weight / total * (rankdata(values[name][is_known_N]) - 1) / max(num_rows - 1, 1)
        for name, weight in weights.items()
    )
    return blend_N
