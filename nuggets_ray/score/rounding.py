"""How far the run's dtype moves a delta, anchor by anchor: measured on a few candidates that are
scored in float32 too.

    error_ka = delta_ka in the run's dtype - delta_ka in float32,      delta = one-shot - zero-shot
    rounding_noise_a = root mean square of error_ka over the candidates k

An anchor with a long answer averages its rounding away, one with a short answer does not, so that
no constant is right for both. A decision is a near tie where |delta| <= NEAR_TIE_SDS x
rounding_noise_a.

Legend: C candidates, A anchors.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nuggets_ray.records import Anchor
from nuggets_ray.score.golden import NOISE_BAND_NATS

NEAR_TIE_SDS = 2.4
"""99 of 100 errors are smaller: 0.0536 of 0.0227 nats in the bench log, which is the constant
band."""
MAX_CANDIDATES, MIN_CANDIDATES, MAX_PAIRS = 8, 4, 1600


def num_candidates(num_anchors: int) -> int:
    """On how many candidates the noise of so many anchors is measured: at most MAX_PAIRS passes,
    where that leaves enough to tell the anchors apart."""
    return max(MIN_CANDIDATES, min(MAX_CANDIDATES, MAX_PAIRS // num_anchors))


def rounding_noise(
    zero_shot_A: np.ndarray,
    one_shot_CA: np.ndarray,
    exact_zero_shot_A: np.ndarray,
    exact_one_shot_CA: np.ndarray,
) -> np.ndarray | None:
    """The noise of each anchor in nats, (A,), from log-probs in the run's dtype and in float32.

    Its logarithm is pulled to the mean over the anchors by as much of their spread as few
    candidates explain. Candidates with a log-prob that is not finite are left out; None where none
    is left.
    """
    error_CA = one_shot_CA.astype(np.float64) - zero_shot_A
    error_CA -= exact_one_shot_CA.astype(np.float64) - exact_zero_shot_A
    error_CA = error_CA[np.isfinite(error_CA).all(axis=1)]
    if not len(error_CA):
        return None
    noise_A: np.ndarray = np.sqrt(np.mean(error_CA**2, axis=0))
    is_moved_A = noise_A > 0  # an answer that is wholly cut has no log-prob to move
    if is_moved_A.any():
        sampling = 1 / (2 * len(error_CA))  # of the logarithm, whose mean is as much too low
        log_M = np.log(noise_A[is_moved_A]) + sampling
        between = max(float(log_M.var()) - sampling, 0.0)
        keep = between / (between + sampling)
        noise_A[is_moved_A] = np.exp(log_M.mean() + keep * (log_M - log_M.mean()))
    return noise_A


def with_noise(anchors: Sequence[Anchor], noise_A: np.ndarray) -> list[Anchor]:
    """The anchors with their rounding noise."""
    pairs = zip(anchors, noise_A.tolist(), strict=True)
    return [replace(anchor, rounding_noise=noise) for anchor, noise in pairs]


def known_noise(anchors: Sequence[Anchor]) -> np.ndarray:
    """The rounding noise of the anchors in nats, (A,); NaN where it was not measured."""
    return np.array([anchor.rounding_noise for anchor in anchors], dtype=np.float64)


def noise_bands(anchors: Sequence[Anchor], dtype: str) -> np.ndarray:
    """The |delta| of each anchor up to which rounding can turn a decision, in nats, (A,): the
    dtype's constant where the noise was not measured."""
    noise_A = known_noise(anchors)
    band_A = np.maximum(NEAR_TIE_SDS * noise_A, NOISE_BAND_NATS["float32"])
    bands: np.ndarray = np.where(np.isnan(noise_A), NOISE_BAND_NATS[dtype], band_A)
    return bands
