"""Which anchors to meet next: those that tell most, a token, of the rows at the cut-off."""

import numpy as np
from scipy.special import ndtr

from nuggets_ray.schedule.factor_model import FactorModel, expect_unseen

FIRST_BLOCK_SHARE, SMALLEST_BLOCK = 0.01, 5


def first_block_size(num_anchors: int) -> int:
    """How many anchors all rows meet after the pilot."""
    return min(max(SMALLEST_BLOCK, round(FIRST_BLOCK_SHARE * num_anchors)), num_anchors)


def choose_block(
    model: FactorModel, met: np.ndarray, size: int, aim: np.ndarray, anchor_tokens_M: np.ndarray
) -> np.ndarray:
    """The next `size` anchors after `met`, greedily, each the one with the largest

        [(g'V L_j)^2 / (noise_j + L_j'V L_j) + p_j (1 - p_j)] / tokens_j

    g the gradient of the expected unseen wins, V the posterior covariance, p_j the chance of a
    win, all at theta = `aim` (Q,): the variance of the final wins that this anchor takes away.
    """
    left = np.setdiff1d(np.arange(len(anchor_tokens_M)), met)
    covariance = model.covariance(met)
    chosen: list[int] = []
    for _ in range(min(max(size, 1), len(left))):
        loadings_UQ = model.loadings_MQ[left]
        gradient = expect_unseen(model, aim[None], covariance, left).gradient_NQ[0]
        reach_UQ = loadings_UQ @ covariance
        spread_U = model.noise_M[left] + np.sum(reach_UQ * loadings_UQ, axis=1)
        margin_U = loadings_UQ @ aim + (model.intercept_M - model.cut_M)[left]
        won_U = ndtr(margin_U / np.sqrt(spread_U))
        gain_U = (reach_UQ @ gradient) ** 2 / spread_U + won_U * (1 - won_U)
        best = int(np.argmax(gain_U / anchor_tokens_M[left]))
        covariance = covariance - np.outer(reach_UQ[best], reach_UQ[best]) / spread_U[best]
        chosen.append(int(left[best]))
        left = np.delete(left, best)
    return np.array(chosen, dtype=np.int64)
