"""Data-Juicer's in-context influence: the mean ratio of losses without and with the row in front.

    loss_ratio(n) = mean over anchors a of  loss(a) / loss(a | n) = zero_shot(a) / one_shot(n, a)

Above 1 the row helps. As `in_context_influence_filter` of Data-Juicer (arXiv 2309.02033) computes
it, but in the run's prompt. An anchor whose loss is 0 (none of its answer is scored) is left out.
Legend: N rows, A anchors.
"""

import numpy as np


def loss_ratio(one_shot_NA: np.ndarray, zero_shot_A: np.ndarray) -> np.ndarray:
    """Of mean log-probs in nats per answer token: (N,) float64. A log-prob of NaN (the row itself
    as an anchor) is left out; NaN where nothing is left."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio_NA = np.asarray(zero_shot_A, np.float64) / one_shot_NA.astype(np.float64)
    is_known_NA = np.isfinite(ratio_NA)
    count_N = is_known_NA.sum(axis=1)
    total_N = np.where(is_known_NA, ratio_NA, 0.0).sum(axis=1)
    return np.where(count_N > 0, total_N / np.maximum(count_N, 1), np.nan)
