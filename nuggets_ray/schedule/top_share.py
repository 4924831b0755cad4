"""Who is among the best K: the distribution of every row's final number of wins, and the cut-off.

A row that met every anchor has its total. Another's is known through theta: along one direction,
the gradient of the expected wins, its prior is estimated from all rows (the nonparametric maximum
likelihood estimate, NPMLE, a mixture on a grid), because the cut-off lies in the tail and a
Gaussian tail is wrong there; across that direction the Gaussian posterior stands.

    eta = g . theta,  a = g . m,  v = g'Vg                 posterior mean and variance along g
    y = a / (1 - v),  s2 = v / (1 - v)                     the N(0, 1) prior divided out
    total | eta ~ N(wins + 1/2 + mean + (G'Vg / v)(eta - a),  own + G'(V - Vgg'V/v)G + 1/12)

and the cut-off tau is where the probabilities of reaching it sum to K.

Legend: N rows, Q factors, E grid points of eta.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

GRID_POINTS, EM_STEPS, HISTOGRAM_BINS = 81, 60, 600
FLAT = 0.999  # above this posterior variance along g, the data say nothing of eta
REACH = 7.0  # standard deviations beyond which a row is surely in or out
BISECTIONS = 60
CHUNK = 8192


@dataclass(frozen=True, slots=True)
class Totals:
    """Final wins of N incomplete rows: Gaussian given eta.

    `center_N` the mean at eta = `along_N`, `slope_N` wins a unit of eta, `spread_N` the standard
    deviation given eta; `along_N` and `along_var_N` the Gaussian posterior of eta.
    """

    center_N: np.ndarray
    slope_N: np.ndarray
    spread_N: np.ndarray
    along_N: np.ndarray
    along_var_N: np.ndarray

    def take(self, rows: np.ndarray) -> "Totals":
        return Totals(
            *(a[rows] for a in (self.center_N, self.slope_N, self.spread_N)),
            *(a[rows] for a in (self.along_N, self.along_var_N)),
        )


@dataclass(frozen=True, slots=True)
class Prior:
    """Distribution of eta over the rows: `weight_E` on the points `eta_E`."""

    eta_E: np.ndarray
    weight_E: np.ndarray

    def posterior(self, totals: Totals) -> np.ndarray:
        """Weights on the points for each row, (N, E)."""
        log_NE = _log_likelihood(totals.along_N, totals.along_var_N, self.eta_E)
        weight_NE = np.exp(log_NE - log_NE.max(axis=1, keepdims=True)) * self.weight_E
        total_N = weight_NE.sum(axis=1, keepdims=True)
        # A row beyond the grid's reach keeps the nearest point.
        nearest_NE = (log_NE == log_NE.max(axis=1, keepdims=True)).astype(float)
        weight_NE = np.where(total_N > 0, weight_NE, nearest_NE)
        posterior_NE: np.ndarray = weight_NE / weight_NE.sum(axis=1, keepdims=True)
        return posterior_NE


def fit_prior(groups: list[tuple[np.ndarray, float]]) -> Prior:
    """NPMLE of eta: `groups` of (posterior means of eta (n,), posterior variance), a group for the
    rows that met the same anchors. 60 EM steps from flat, and no further: its atoms are not wanted.
    """
    informative = [(a_N, v) for a_N, v in groups if len(a_N) and v < FLAT]
    if not informative:
        eta_E = np.linspace(-4, 4, GRID_POINTS)
        weight_E = np.exp(-0.5 * eta_E**2)
        return Prior(eta_E, weight_E / weight_E.sum())
    low = min(float(a_N.min()) for a_N, _ in informative) - 1
    high = max(float(a_N.max()) for a_N, _ in informative) + 1
    eta_E = np.linspace(low, high, GRID_POINTS)
    # Rows of one group with about the same mean count as one: the cost does not grow with N.
    counts, likelihoods = [], []
    for a_N, v in informative:
        num_N, edges = np.histogram(a_N, HISTOGRAM_BINS)
        middle_N = ((edges[1:] + edges[:-1]) / 2)[num_N > 0]
        log_NE = _log_likelihood(middle_N, np.full(len(middle_N), v), eta_E)
        likelihoods.append(np.exp(log_NE - log_NE.max(axis=1, keepdims=True)))
        counts.append(num_N[num_N > 0])
    likelihood_BE, num_B = np.concatenate(likelihoods), np.concatenate(counts)
    weight_E = np.full(GRID_POINTS, 1 / GRID_POINTS)
    for _ in range(EM_STEPS):
        joint_BE = likelihood_BE * weight_E
        share_BE = joint_BE / np.maximum(joint_BE.sum(axis=1, keepdims=True), 1e-300)
        weight_E = num_B @ share_BE / num_B.sum()
    return Prior(eta_E, weight_E / weight_E.sum())


def probabilities(totals: Totals, prior: Prior, tau: float) -> np.ndarray:
    """P(final wins >= tau) of each row, (N,)."""
    result_N = np.zeros(len(totals.center_N))
    for start in range(0, len(result_N), CHUNK):
        part = totals.take(np.arange(start, min(start + CHUNK, len(result_N))))
        above_NE = (_at_points(part, prior) - tau) / part.spread_N[:, None]
        result_N[start : start + CHUNK] = np.sum(prior.posterior(part) * ndtr(above_NE), axis=1)
    return result_N


def moments(totals: Totals, prior: Prior) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each row's final wins, (N,) each."""
    mean_N, spread_N = np.zeros(len(totals.center_N)), np.zeros(len(totals.center_N))
    for start in range(0, len(mean_N), CHUNK):
        part = totals.take(np.arange(start, min(start + CHUNK, len(mean_N))))
        weight_NE, at_NE = prior.posterior(part), _at_points(part, prior)
        mean = np.sum(weight_NE * at_NE, axis=1)
        variance = np.sum(weight_NE * (at_NE - mean[:, None]) ** 2, axis=1) + part.spread_N**2
        mean_N[start : start + CHUNK], spread_N[start : start + CHUNK] = mean, np.sqrt(variance)
    return mean_N, spread_N


def find_cutoff(totals: Totals, prior: Prior, complete_C: np.ndarray, top_k: int) -> float:
    """tau where the probabilities sum to `top_k`; `complete_C` are totals of the complete rows,
    with their rank among equals as a fraction, so that they are distinct."""
    if not len(totals.center_N):
        return float(np.sort(complete_C)[-top_k])
    mean_N, spread_N = moments(totals, prior)
    reach_N = np.concatenate([mean_N + REACH * spread_N, complete_C])
    floor_N = np.concatenate([mean_N - REACH * spread_N, complete_C])
    low, high = _kth(floor_N, top_k) - 1, _kth(reach_N, top_k) + 1
    # What cannot reach the lowest tau counts 0 all along.
    near = totals.take(np.flatnonzero(mean_N + REACH * spread_N >= low))
    contenders = _Contenders(near, prior)
    for _ in range(BISECTIONS):
        tau = (low + high) / 2
        if contenders.expected(tau) + np.count_nonzero(complete_C >= tau) > top_k:
            low = tau
        else:
            high = tau
        if high - low < 1e-3:
            break
    return high


class _Contenders:
    """The rows that could reach the cut-off, their mixtures held ready for many values of tau."""

    def __init__(self, totals: Totals, prior: Prior) -> None:
        self._parts = []
        for start in range(0, len(totals.center_N), CHUNK):
            part = totals.take(np.arange(start, min(start + CHUNK, len(totals.center_N))))
            self._parts.append(
                (
                    prior.posterior(part).astype(np.float32),
                    _at_points(part, prior).astype(np.float32),
                    part.spread_N.astype(np.float32)[:, None],
                )
            )

    def expected(self, tau: float) -> float:
        """Number of rows that reach `tau`, expected."""
        return sum(
            float(np.sum(weight_NE * ndtr((at_NE - np.float32(tau)) / spread_N)))
            for weight_NE, at_NE, spread_N in self._parts
        )


def _kth(values_N: np.ndarray, k: int) -> float:
    """The k-th largest."""
    return float(np.partition(values_N, len(values_N) - k)[len(values_N) - k])


def _at_points(totals: Totals, prior: Prior) -> np.ndarray:
    """Mean final wins at each point of eta, (N, E)."""
    at_NE: np.ndarray = totals.center_N[:, None] + totals.slope_N[:, None] * (
        prior.eta_E - totals.along_N[:, None]
    )
    return at_NE


def _log_likelihood(along_N: np.ndarray, var_N: np.ndarray, eta_E: np.ndarray) -> np.ndarray:
    """Log density of y at each eta, up to a constant a row, (N, E); 0 where nothing is known."""
    rest_N = np.maximum(1 - var_N, 1e-9)
    y_N, s2_N = along_N / rest_N, var_N / rest_N
    log_NE = -0.5 * (y_N[:, None] - eta_E) ** 2 / np.maximum(s2_N, 1e-9)[:, None]
    return np.where((var_N < FLAT)[:, None], log_NE, 0.0)
