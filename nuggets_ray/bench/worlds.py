"""Made-up matrices of deltas to race in, whose truth is known.

    exchangeable   every anchor is as hard as any other: wins are counts, and only counts tell
    item_response  anchors of unequal difficulty and slope, one ability (2PL)
    factor         four factors of unlike strength, a fifth of the anchor pairs negatively
                   correlated, anchors won by 0 to 90%: what real matrices look like
    factor_tail    the same, with a third of the noise a long tail of twenty small factors

The win shares of the first two follow the published distribution of golden scores (arXiv
2312.10302: 18% at most 0.5, 15% above 0.8, 1% above 0.85). A race reads `ask`, which counts passes
and tokens, and nothing else.

Legend: N candidates, M anchors, Q factors.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

# Quantiles of the chance of a win, such that shares over 1,000 anchors are the published ones.
SHARE = (0.0, 0.05, 0.183, 0.40, 0.60, 0.75, 0.853, 0.95, 0.9912, 0.9985, 1.0)
WIN_CHANCE = (0.15, 0.36, 0.50, 0.64, 0.72, 0.77, 0.80, 0.825, 0.848, 0.865, 0.92)
FACTOR_VARIANCE = (0.33, 0.12, 0.06, 0.05)
NOISE_FREEDOM = 9
TAIL_SHARE, TAIL_FACTORS = 0.3, 20
ANCHOR_TOKENS, DEMONSTRATION_TOKENS, LENGTH_SPREAD = 75.0, 82.5, 0.6
LENGTH_CORRELATION = 0.6


@dataclass(slots=True)
class RaceWorld:
    """`delta` (N, M) in nats is what full scoring sees; tokens of a demonstration and of an anchor;
    `passes`, `tokens` and `rounds` count what was asked."""

    delta: np.ndarray
    demo_tokens: np.ndarray
    anchor_tokens: np.ndarray
    passes: int = 0
    tokens: float = 0.0
    rounds: int = 0

    def ask(self, rows: np.ndarray, anchors: np.ndarray) -> np.ndarray:
        """The deltas of `rows` on `anchors`; every row's demonstration is read again."""
        self.passes += len(rows) * len(anchors)
        anchor_tokens = float(self.anchor_tokens[anchors].sum())
        self.tokens += float(self.demo_tokens[rows].sum()) + len(rows) * anchor_tokens
        asked: np.ndarray = self.delta[np.ix_(rows, anchors)]
        return asked


def exchangeable(num_candidates: int, num_anchors: int, seed: int) -> RaceWorld:
    rng = np.random.default_rng(seed)
    chance_N = _win_chance(rng, num_candidates)
    delta = rng.standard_normal((num_candidates, num_anchors), dtype=np.float32)
    delta += ndtri(chance_N)[:, None].astype(np.float32)
    return RaceWorld(delta * np.float32(0.05), *_lengths(rng, chance_N, num_anchors))


def item_response(num_candidates: int, num_anchors: int, seed: int) -> RaceWorld:
    rng = np.random.default_rng(seed)
    chance_N = _win_chance(rng, num_candidates)
    ability, difficulties = np.linspace(-8, 8, 401), rng.normal(0, 1.5, 2000)
    mean_win = (1 / (1 + np.exp(difficulties - ability[:, None]))).mean(axis=1)
    ability_N = np.interp(chance_N, mean_win, ability)
    slope_M = np.exp(0.4 * rng.standard_normal(num_anchors))
    delta = (slope_M * (ability_N[:, None] - rng.normal(0, 1.5, num_anchors))).astype(np.float32)
    uniform = np.clip(rng.random(delta.shape, dtype=np.float32), 1e-6, 1 - 1e-6)
    delta += np.log(uniform / (1 - uniform))
    return RaceWorld(delta * np.float32(0.03), *_lengths(rng, chance_N, num_anchors))


def factor(num_candidates: int, num_anchors: int, seed: int, tail: float = 0.0) -> RaceWorld:
    """`tail`: the share of the noise that is many small factors, which a race does not model."""
    rng = np.random.default_rng(seed)
    num_factors = len(FACTOR_VARIANCE)
    # A skewed ability: few candidates are very good, as few answers teach much.
    theta_NQ = rng.standard_normal((num_candidates, num_factors))
    theta_NQ[:, 0] = (rng.gamma(4.0, 0.5, num_candidates) - 2.0) / 1.0
    strength_Q = np.sqrt(np.array(FACTOR_VARIANCE))
    loadings_MQ = strength_Q * rng.standard_normal((num_anchors, num_factors))
    loadings_MQ[:, 0] = strength_Q[0] * rng.normal(0.8, 0.6, num_anchors)
    noise_M = (1 - sum(FACTOR_VARIANCE)) * np.exp(0.3 * rng.standard_normal(num_anchors))
    cut_M = rng.normal(0.55, 0.75, num_anchors)
    noise = rng.standard_normal((num_candidates, num_anchors), dtype=np.float32)
    # heavy tails, as measured: one scale for twenty deltas of a row
    scale = rng.chisquare(NOISE_FREEDOM, (num_candidates, -(-num_anchors // 20)))
    noise /= np.sqrt(np.repeat(scale, 20, axis=1)[:, :num_anchors] / (NOISE_FREEDOM - 2))
    if tail:
        small = rng.standard_normal((num_candidates, TAIL_FACTORS), dtype=np.float32)
        small = small @ rng.standard_normal((TAIL_FACTORS, num_anchors), dtype=np.float32)
        noise = np.sqrt(1 - tail) * noise + np.sqrt(tail / TAIL_FACTORS) * small
    delta = theta_NQ @ loadings_MQ.T - cut_M + noise * np.sqrt(noise_M)
    scale_M = 0.06 * np.exp(0.4 * rng.standard_normal(num_anchors))
    lengths = _lengths(rng, theta_NQ[:, 0], num_anchors)
    return RaceWorld((delta * scale_M).astype(np.float32), *lengths)


def factor_tail(num_candidates: int, num_anchors: int, seed: int) -> RaceWorld:
    return factor(num_candidates, num_anchors, seed, tail=TAIL_SHARE)


WORLDS: dict[str, Callable[[int, int, int], RaceWorld]] = {
    "exchangeable": exchangeable,
    "item_response": item_response,
    "factor": factor,
    "factor_tail": factor_tail,
}


def _win_chance(rng: np.random.Generator, num_candidates: int) -> np.ndarray:
    return np.interp(rng.random(num_candidates), SHARE, WIN_CHANCE)


def _lengths(
    rng: np.random.Generator, ability_N: np.ndarray, num_anchors: int
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of demonstrations, longer where ability is higher as measured, and of anchors."""
    rank_N = ndtri((rankdata(ability_N) - 0.5) / len(ability_N))
    own_N = np.sqrt(1 - LENGTH_CORRELATION**2) * rng.standard_normal(len(ability_N))
    demonstrations_N = _log_normal(LENGTH_CORRELATION * rank_N + own_N, DEMONSTRATION_TOKENS)
    return demonstrations_N, _log_normal(rng.standard_normal(num_anchors), ANCHOR_TOKENS)


def _log_normal(z: np.ndarray, mean: float) -> np.ndarray:
    tokens = mean * np.exp(LENGTH_SPREAD * z - LENGTH_SPREAD**2 / 2)
    rounded: np.ndarray = np.maximum(8, np.round(tokens))
    return rounded
