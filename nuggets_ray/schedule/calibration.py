"""Do the stated spreads of a race hold? Predicted final wins beside those that came.

On the pilot's held-out folds: rows that met every anchor, predicted from each of the blocks by a
model fitted on the other folds. On the survivors: what the last plan said of rows before they
were completed. A promised recall rests on both; where a 95% interval covers much less, it is worth
less.

Legend: P pilot rows, M anchors, n predicted rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nuggets_ray.schedule.factor_model import FactorModel, expect_unseen, fit
from nuggets_ray.schedule.seen import first_blocks

NUM_FOLDS = 4
Z_95 = 1.959963984540054
ROUNDING = 1 / 12
"""Variance of a whole number of wins about a real one."""
MIN_COVERED = 0.85
"""Below it a promise is warned of: on real matrices 0.91 to 0.97 were covered."""
ONE_SIDED_95 = 1.645


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of `num_predictions` of final wins `covered` is the share within the stated 95% interval;
    `bias_wins` the mean of what came less what was predicted; `squared_error` the mean squared
    error over the stated variance, 1 where that is right."""

    num_predictions: int
    covered: float
    bias_wins: float
    squared_error: float

    @property
    def is_doubtful(self) -> bool:
        """Whether less is covered than chance alone would make of MIN_COVERED."""
        by_chance = ONE_SIDED_95 * np.sqrt(MIN_COVERED * (1 - MIN_COVERED) / self.num_predictions)
        return bool(self.covered + by_chance < MIN_COVERED)


def coverage(mean_n: np.ndarray, spread_n: np.ndarray, wins_n: np.ndarray) -> Coverage | None:
    """How predictions (mean and standard deviation, in wins) fared; None without any."""
    if not len(mean_n):
        return None
    error_n = wins_n - mean_n
    z_n = error_n / spread_n
    return Coverage(
        num_predictions=len(mean_n),
        covered=float(np.mean(np.abs(z_n) <= Z_95)),
        bias_wins=float(np.mean(error_n)),
        squared_error=float(np.mean(z_n**2)),
    )


def held_out_coverage(
    delta_PM: np.ndarray, blocks: Sequence[np.ndarray], kappa: float
) -> Coverage | None:
    """Coverage on the pilot's held-out folds after each of the blocks, the variance widened by
    `kappa` as the race widened it; None before there is a block."""
    fold_P = np.arange(len(delta_PM)) % NUM_FOLDS
    predicted = [
        _predict(fit(delta_PM[fold_P != fold]), delta_PM[fold_P == fold], blocks, kappa)
        for fold in range(NUM_FOLDS)
    ]
    columns = np.concatenate([np.zeros((0, 3)), *(part for fold in predicted for part in fold)])
    return coverage(*columns.T)


def _predict(
    model: FactorModel, delta_PM: np.ndarray, blocks: Sequence[np.ndarray], kappa: float
) -> list[np.ndarray]:
    """(mean, spread, wins) on the anchors not met after each of the blocks, (P, 3) each."""
    parts = []
    for stage in range(1, len(blocks) + 1):
        met = first_blocks(blocks, stage)
        unseen = np.setdiff1d(np.arange(delta_PM.shape[1]), met)
        if not len(unseen):
            break
        covariance = model.covariance(met)
        theta_PQ = model.evidence(delta_PM[:, met], met) @ covariance
        expected = expect_unseen(model, theta_PQ, covariance, unseen)
        gradient_PQ = expected.gradient_NQ
        variance_P = expected.own_N + np.einsum("pq,qr,pr->p", gradient_PQ, covariance, gradient_PQ)
        spread_P = np.sqrt(kappa * variance_P + ROUNDING)
        wins_P = np.sum(delta_PM[:, unseen] > 0, axis=1)
        parts.append(np.stack([expected.mean_N, spread_P, wins_P], axis=1))
    return parts
