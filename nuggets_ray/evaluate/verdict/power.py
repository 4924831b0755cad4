"""How large an effect the verdict's rule finds, told before anything is trained.

    golden is found better where   effect + g > max over kinds k of  m_k + t(df) s sqrt(1 + 1/K_k)
with g ~ N(0, 1), m_k ~ N(0, 1/K_k), df s^2 ~ chi2(df), df = sum of K_k - 1: in standard deviations
of a training, for rows so many that their noise does not count. How the right side less g is
distributed is simulated, with a seed of its own.

Suffixes: K draws of a kind, S simulated experiments.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from nuggets_ray.evaluate.stats import CONFIDENCE

NUM_SIMULATED = 100_000
MIN_DEGREES = 2
"""Draws fewer than these leave free do not show how far trainings differ by chance."""


def degrees_of_freedom(num_draws: Sequence[int]) -> int:
    """What the pooled spread of draws of several kinds rests on: the sum of K - 1."""
    return sum(number - 1 for number in num_draws if number > 0)


def detectable_effect(num_draws: Sequence[int], power: float = 0.5) -> float | None:
    """The effect, in standard deviations of a training, that is found with frequency `power` by
    kinds of so many draws each; None where they are too few to tell anything.
    """
    kinds = tuple(sorted(number for number in num_draws if number > 0))
    if degrees_of_freedom(kinds) < MIN_DEGREES:
        return None
    return float(np.quantile(_needed(kinds), power))


def found_share(num_draws: Sequence[int], effect: float) -> float:
    """How often an effect of so many standard deviations is called better; at 0, how often a golden
    model that is one more draw is.
    """
    kinds = tuple(sorted(number for number in num_draws if number > 0))
    if degrees_of_freedom(kinds) < MIN_DEGREES:
        return 0.0
    return float((_needed(kinds) < effect).mean())


def power_text(num_row_draws: int, num_token_draws: int) -> str:
    """One sentence on what a verdict with so many random draws matched in rows and in tokens will
    be able to tell.
    """
    kinds = (num_row_draws, num_token_draws)
    plural = "" if num_row_draws == 1 else "s"
    draws = f"{num_row_draws} random draw{plural} matched in rows and {num_token_draws} in tokens"
    half, most = detectable_effect(kinds), detectable_effect(kinds, 0.9)
    if half is None or most is None:
        return (
            f"with {draws} no verdict can come of it, because how far trainings differ by chance "
            "stays unknown: 3 of a kind can tell, and experiment=verdict has 5 and 5"
        )
    return (
        f"with {draws}, golden rows whose true effect is {half:.1f} standard deviations of a "
        f"training are found better half of the time, of {most:.1f} nine times of ten, and rows "
        f"that are no better than random {100 * found_share(kinds, 0.0):.1f}% of the time"
    )


@lru_cache
def _needed(kinds: tuple[int, ...]) -> np.ndarray:
    """The effect from which each simulated experiment calls golden better: (S,)."""
    from scipy import stats

    rng = np.random.default_rng(0)
    degrees = degrees_of_freedom(kinds)
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees))
    spread_S = np.sqrt(rng.chisquare(degrees, NUM_SIMULATED) / degrees)
    bound_S = np.full(NUM_SIMULATED, -np.inf)
    for number in kinds:
        mean_S = rng.standard_normal(NUM_SIMULATED) / math.sqrt(number)
        half_S = quantile * spread_S * math.sqrt(1 + 1 / number)
        bound_S = np.maximum(bound_S, mean_S + half_S)
    return np.asarray(bound_S - rng.standard_normal(NUM_SIMULATED))
