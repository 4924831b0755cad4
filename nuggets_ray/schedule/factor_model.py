"""The factor model of the deltas: what a race knows of anchors that a candidate has not met yet.

    z_ij = (delta_ij - mean_j) / scale_j,  clipped at +-3.5          standardised delta
    z_ij = intercept_j + loadings_j . theta_i + noise,  noise ~ N(0, noise_j),  theta_i ~ N(0, I)
    anchor j is won when z_ij > cut_j,    cut_j = -mean_j / scale_j, shifted to the observed wins

Fitted by EM on the pilot (rows that met every anchor), each anchor's numbers then pulled towards
their mean over the anchors by empirical Bayes: few rows estimate many anchors, and without it the
anchors that look informative are in part those that look so by chance. `refit` goes on with all
that was seen since: what is missing was decided by what was seen, so it is missing at random.

The noise of an anchor is at least the rounding that was measured on it, where that is known. Half
of the variance of a delta's rounding is the zero-shot side's: one number an anchor, which all rows
share and the mean takes up. The other half is noise.

Legend: N candidates, P pilot rows, M anchors, S anchors seen, U unseen, Q factors.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri

MAX_Z = 3.5
NUM_FACTORS = 6
MIN_ROWS_A_FACTOR = 8
FIT_STEPS, REFIT_STEPS = 30, 5
MIN_NOISE = 0.05
# Weight of the pilot's fit in a refit, in rows; less of its intercepts, which move the cut-off.
PILOT_WEIGHT, INTERCEPT_WEIGHT = 300.0, 8.0


@dataclass(frozen=True, slots=True)
class FactorModel:
    """Parameters an anchor: `mean_M`, `scale_M` and the `rounding_M` of a delta in nats (0: not
    known), the rest in standardised units."""

    mean_M: np.ndarray
    scale_M: np.ndarray
    intercept_M: np.ndarray
    loadings_MQ: np.ndarray
    noise_M: np.ndarray
    cut_M: np.ndarray
    rounding_M: np.ndarray

    @property
    def floor_M(self) -> np.ndarray:
        """The least noise of an anchor, (M,)."""
        return _noise_floor(self.rounding_M, self.scale_M)

    @property
    def num_factors(self) -> int:
        return int(self.loadings_MQ.shape[1])

    def standardise(self, delta_NS: np.ndarray, anchors: np.ndarray) -> np.ndarray:
        """Deltas in nats to z less the intercept, (N, S); where a delta is NaN (a row that is its
        own anchor), 0: nothing is learned from it."""
        z_NS = (delta_NS - self.mean_M[anchors]) / self.scale_M[anchors]
        z_NS = np.clip(z_NS, -MAX_Z, MAX_Z) - self.intercept_M[anchors]
        return np.where(np.isnan(z_NS), 0.0, z_NS)

    def evidence(self, delta_NS: np.ndarray, anchors: np.ndarray) -> np.ndarray:
        """What the deltas say of theta, (N, Q): sums over anchors, so parts may be added up.
        `covariance` of all the anchors seen turns the sum into the posterior mean."""
        weights_SQ = self.loadings_MQ[anchors] / self.noise_M[anchors, None]
        evidence_NQ: np.ndarray = self.standardise(delta_NS, anchors) @ weights_SQ
        return evidence_NQ

    def covariance(self, anchors: np.ndarray) -> np.ndarray:
        """Posterior covariance of theta after `anchors`, (Q, Q): the same for every row."""
        loadings_SQ = self.loadings_MQ[anchors]
        precision = np.eye(self.num_factors) + (loadings_SQ.T / self.noise_M[anchors]) @ loadings_SQ
        return np.linalg.inv(precision)


@dataclass(frozen=True, slots=True)
class Unseen:
    """What a row is expected to win among the anchors that it has not met.

    `mean_N` the expected number of wins, `own_N` the variance of that number which is left when
    theta is known, `gradient_NQ` its gradient in theta.
    """

    mean_N: np.ndarray
    own_N: np.ndarray
    gradient_NQ: np.ndarray


def win_margins(
    model: FactorModel, theta_NQ: np.ndarray, covariance: np.ndarray, anchors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(x, spread): P(win) = Phi(x), (N, U), with theta ~ N(theta_N, covariance); spread (U,)."""
    loadings_UQ = model.loadings_MQ[anchors]
    spread_U = np.sqrt(
        model.noise_M[anchors] + np.einsum("uq,qr,ur->u", loadings_UQ, covariance, loadings_UQ)
    )
    above_NU = theta_NQ @ loadings_UQ.T + (model.intercept_M - model.cut_M)[anchors]
    return above_NU / spread_U, spread_U


def expect_unseen(
    model: FactorModel, theta_NQ: np.ndarray, covariance: np.ndarray, anchors: np.ndarray
) -> Unseen:
    """Expected wins on `anchors` of rows whose theta ~ N(theta_N, covariance)."""
    x_NU, spread_U = win_margins(model, theta_NQ, covariance, anchors)
    won_NU = ndtr(x_NU)
    density_NU = np.exp(-0.5 * x_NU**2) / (np.sqrt(2 * np.pi) * spread_U)
    return Unseen(
        mean_N=won_NU.sum(1),
        own_N=np.maximum(
            won_NU * (1 - won_NU) - density_NU**2 * (spread_U**2 - model.noise_M[anchors]), 0.0
        ).sum(1),
        gradient_NQ=density_NU @ model.loadings_MQ[anchors],
    )


def fit(
    delta_PM: np.ndarray, num_factors: int = NUM_FACTORS, rounding_M: np.ndarray | None = None
) -> FactorModel:
    """The model of the rows that met every anchor: (P, M) deltas in nats, NaN where a row is its
    own anchor. Fewer than eight rows a factor get fewer factors. `rounding_M`: the known rounding
    noise of the deltas in nats, NaN where it is not."""
    num_rows, num_anchors = delta_PM.shape
    # The factors that so many rows and anchors can carry.
    num_factors = max(1, min(num_factors, num_rows // MIN_ROWS_A_FACTOR, num_anchors))
    mean_M, scale_M = _location(delta_PM)
    z_PM = np.clip((delta_PM - mean_M) / scale_M, -MAX_Z, MAX_Z)
    z_PM = np.where(np.isnan(z_PM), 0.0, z_PM)
    rounding_M = np.zeros(num_anchors) if rounding_M is None else np.nan_to_num(rounding_M)
    floor_M = _noise_floor(rounding_M, scale_M)
    loadings_MQ, noise_M = _factors(z_PM, num_factors, floor_M)
    sampling_M = noise_M / num_rows
    loadings_MQ = np.stack([_shrink(column, sampling_M) for column in loadings_MQ.T], axis=1)
    noise_M = np.maximum(np.exp(_shrink(np.log(noise_M), 2.5 / num_rows)), floor_M)
    intercept_M, cut_M = np.zeros(num_anchors), -mean_M / scale_M
    model = FactorModel(mean_M, scale_M, intercept_M, loadings_MQ, noise_M, cut_M, rounding_M)
    return replace(model, cut_M=_win_cuts(model, delta_PM))


def refit(
    model: FactorModel,
    groups: Iterable[tuple[np.ndarray, np.ndarray]],
    num_steps: int = REFIT_STEPS,
) -> FactorModel:
    """Go on from the pilot's fit with what was seen: `groups` of (deltas (n, S), anchors seen)."""
    seen = [
        (model.standardise(delta_NS, anchors), anchors)
        for delta_NS, anchors in groups
        if len(delta_NS)
    ]  # the pilot's intercepts are 0
    pilot = model
    for _ in range(num_steps):
        model = _refit_step(model, pilot, seen)
    return model


def _location(delta_PM: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of an anchor's deltas, in nats: mean/scale and log scale shrunk."""
    num_rows = len(delta_PM)
    mean_M, scale_M = np.nanmean(delta_PM, axis=0), np.nanstd(delta_PM, axis=0)
    smallest = max(1e-3 * float(np.median(scale_M)), 1e-9)  # an anchor whose deltas are all alike
    scale_M = np.maximum(scale_M, smallest)
    shift_M = _shrink(mean_M / scale_M, np.float64(1 / num_rows))
    scale_M = np.exp(_shrink(np.log(scale_M), np.float64(0.6 / num_rows)))
    return shift_M * scale_M, scale_M


def _shrink(value_M: np.ndarray, sampling_M: np.ndarray | np.float64 | float) -> np.ndarray:
    """Empirical Bayes: pull values towards their mean over the anchors, by as much of their
    variance as is sampling."""
    between = max(float(value_M.var() - np.mean(sampling_M)), 0.0)
    keep_M = between / (between + sampling_M)
    pulled_M: np.ndarray = value_M.mean() + keep_M * (value_M - value_M.mean())
    return pulled_M


def _noise_floor(rounding_M: np.ndarray, scale_M: np.ndarray) -> np.ndarray:
    known_M = np.minimum(rounding_M**2 / 2 / scale_M**2, 1.0)  # it is a part of the variance
    floor_M: np.ndarray = np.maximum(known_M, MIN_NOISE)
    return floor_M


def _factors(
    z_PM: np.ndarray, num_factors: int, floor_M: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Loadings (M, Q) and noise (M,) by EM, from the principal components on."""
    num_rows = len(z_PM)
    left, size, right = np.linalg.svd(z_PM, full_matrices=False)
    loadings_MQ = (right[:num_factors] * size[:num_factors, None]).T / np.sqrt(num_rows)
    loadings_MQ = loadings_MQ * 0.9
    power_M = np.mean(z_PM**2, axis=0)
    noise_M = np.maximum(power_M - np.sum(loadings_MQ**2, axis=1), floor_M)
    for _ in range(FIT_STEPS):
        weighted_MQ = loadings_MQ / noise_M[:, None]
        covariance = np.linalg.inv(np.eye(num_factors) + weighted_MQ.T @ loadings_MQ)
        theta_PQ = z_PM @ weighted_MQ @ covariance
        cross_MQ = z_PM.T @ theta_PQ
        loadings_MQ = cross_MQ @ np.linalg.inv(theta_PQ.T @ theta_PQ + num_rows * covariance)
        noise_M = np.maximum(power_M - np.sum(loadings_MQ * cross_MQ, axis=1) / num_rows, floor_M)
    return loadings_MQ, noise_M


def _win_cuts(model: FactorModel, delta_PM: np.ndarray) -> np.ndarray:
    """The cuts at which the model wins each anchor as often as the pilot did, (M,): four Newton
    steps; the shift is shrunk, and nothing is asked of an anchor beyond half a win."""
    num_rows, num_anchors = delta_PM.shape
    every = np.arange(num_anchors)
    covariance = model.covariance(every)
    theta_PQ = model.evidence(delta_PM, every) @ covariance
    rate_M = np.nanmean(np.where(np.isnan(delta_PM), np.nan, delta_PM > 0), axis=0)
    rate_M = np.clip(rate_M, 0.5 / num_rows, 1 - 0.5 / num_rows)
    cut_M = model.cut_M
    for _ in range(4):
        x_PM, spread_M = win_margins(replace(model, cut_M=cut_M), theta_PQ, covariance, every)
        density_M = np.exp(-0.5 * x_PM**2).mean(0) / (np.sqrt(2 * np.pi) * spread_M)
        step_M = (ndtr(x_PM).mean(0) - rate_M) / np.maximum(density_M, 0.02)
        cut_M = cut_M + np.clip(step_M, -0.5, 0.5)
    height_M = np.exp(-0.5 * ndtri(rate_M) ** 2) / np.sqrt(2 * np.pi)
    sampling_M = rate_M * (1 - rate_M) / (num_rows * np.maximum(height_M, 0.02) ** 2)
    shifted_M: np.ndarray = model.cut_M + _shrink(cut_M - model.cut_M, sampling_M)
    return shifted_M


def _refit_step(
    model: FactorModel, pilot: FactorModel, seen: list[tuple[np.ndarray, np.ndarray]]
) -> FactorModel:
    """One EM step over rows grouped by the anchors they met, the pilot's fit as the prior."""
    num_anchors, num_factors = model.loadings_MQ.shape
    weight = np.append(np.full(num_factors, PILOT_WEIGHT), INTERCEPT_WEIGHT)
    moments = np.broadcast_to(np.diag(weight), (num_anchors, len(weight), len(weight))).copy()
    prior_MR = np.column_stack([pilot.loadings_MQ, pilot.intercept_M])
    cross_MR, power_M = prior_MR * weight, np.zeros(num_anchors)
    num_rows_M = np.zeros(num_anchors)
    for z_NS, anchors in seen:
        covariance = model.covariance(anchors)
        weights_SQ = model.loadings_MQ[anchors] / model.noise_M[anchors, None]
        theta_NQ = (z_NS - model.intercept_M[anchors]) @ weights_SQ @ covariance
        regressor_NR = np.column_stack([theta_NQ, np.ones(len(z_NS))])
        second = regressor_NR.T @ regressor_NR
        second[:num_factors, :num_factors] += len(z_NS) * covariance
        moments[anchors] += second
        cross_MR[anchors] += z_NS.T @ regressor_NR
        power_M[anchors] += np.sum(z_NS**2, axis=0)
        num_rows_M[anchors] += len(z_NS)
    fitted_MR = np.linalg.solve(moments, cross_MR[:, :, None])[:, :, 0]
    # Squared residuals of the rows, the prior's share of the moments taken out again.
    own_moments = moments - np.diag(weight)
    own_cross_MR = cross_MR - prior_MR * weight
    residual_M = (
        power_M
        - 2 * np.sum(fitted_MR * own_cross_MR, axis=1)
        + np.einsum("mr,mrs,ms->m", fitted_MR, own_moments, fitted_MR)
    )
    noise_M = (residual_M + PILOT_WEIGHT * pilot.noise_M) / (num_rows_M + PILOT_WEIGHT)
    return replace(
        model,
        loadings_MQ=fitted_MR[:, :num_factors],
        intercept_M=fitted_MR[:, num_factors],
        noise_M=np.maximum(noise_M, model.floor_M),
    )
