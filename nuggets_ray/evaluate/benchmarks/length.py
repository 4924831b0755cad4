"""Win rates with the judge's liking for longer answers taken out.

    P(the model's answer is preferred) = sigmoid(a + b * tanh(d / sd(d))),  d: the difference of
    lengths in characters;   length_adjusted_win_rate = 100 * sigmoid(a)

It is our own fit, on these verdicts alone. AlpacaEval's published length-controlled rate
(arXiv 2404.04475) also knows how difficult each of its 805 instructions is: only `alpaca_eval`
itself can compute it, and only for its whole file of prompts.

Legend: N pairs.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from nuggets_ray.evaluate.benchmarks.instructions import num_instructions

logger = logging.getLogger(__name__)

NUM_DRAWS = 500
"""Each draw is a fit."""
PRIOR_PRECISION = 1.0
"""Of b around 0: without it, b has no end where length alone tells all wins from all losses."""


MIN_PAIRS = 30
MIN_PAIRS_A_SIDE = 10
MIN_SHARE_A_SIDE = 0.05


@dataclass(frozen=True, slots=True)
class LengthAdjusted:
    """In percent, with the 95% bounds; `length_effect` is b. All None where `why_not` says why such
    a fit cannot hold.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    length_effect: float | None = None
    why_not: str | None = None


def length_adjusted_win_rate(
    preferences_N: np.ndarray, length_differences_N: np.ndarray, seed: int
) -> LengthAdjusted:
    """The win rate that the fit predicts for answers of equal length, with a 95% bootstrap interval
    over pairs. Preferences in [0, 1]; differences are the model's length less the reference's.
    """
    if why_not := _why_not(preferences_N, length_differences_N):
        return LengthAdjusted(why_not=why_not)
    num_pairs = len(preferences_N)
    x_N = np.tanh(length_differences_N / length_differences_N.std())
    intercept, slope = _fit(preferences_N, x_N, np.ones(num_pairs))
    shares_N = np.full(num_pairs, 1 / num_pairs)
    counts_BN = np.random.default_rng(seed).multinomial(num_pairs, shares_N, size=NUM_DRAWS)
    draws = [100 * expit(_fit(preferences_N, x_N, counts_N)[0]) for counts_N in counts_BN]
    low, high = np.quantile(draws, [0.025, 0.975]).tolist()
    return LengthAdjusted(float(100 * expit(intercept)), low, high, slope)


def _why_not(preferences_N: np.ndarray, length_differences_N: np.ndarray) -> str | None:
    """Why the fit says nothing of answers of equal length: it would be an extrapolation."""
    num_pairs = len(preferences_N)
    if num_pairs < MIN_PAIRS:
        return f"needs {MIN_PAIRS} pairs"
    if (preferences_N >= 0.5).all() or (preferences_N <= 0.5).all():
        return "needs wins and losses"
    needed = max(MIN_PAIRS_A_SIDE, MIN_SHARE_A_SIDE * num_pairs)
    num_longer, num_shorter = (length_differences_N > 0).sum(), (length_differences_N < 0).sum()
    if min(num_longer, num_shorter) < needed:
        side = "shorter" if num_shorter < num_longer else "longer"
        return f"too few answers are {side} than the reference's"
    return None


def _fit(p_N: np.ndarray, x_N: np.ndarray, weights_N: np.ndarray) -> tuple[float, float]:
    """a and b by maximum likelihood; preferences between 0 and 1 count as shares of a win."""

    def loss(ab: np.ndarray) -> tuple[float, np.ndarray]:
        eta_N = ab[0] + ab[1] * x_N
        residual_N = weights_N * (expit(eta_N) - p_N)
        value = weights_N @ (np.logaddexp(0, eta_N) - p_N * eta_N)
        gradient = np.array([residual_N.sum(), residual_N @ x_N + PRIOR_PRECISION * ab[1]])
        return value + PRIOR_PRECISION * ab[1] ** 2 / 2, gradient

    fitted = minimize(loss, np.zeros(2), jac=True, method="BFGS")
    return float(fitted.x[0]), float(fitted.x[1])


def length_controlled_win_rate(
    annotations: Sequence[Mapping[str, Any]], num_known: int
) -> float | None:
    """AlpacaEval's own length-controlled win rate, in percent, computed by the `alpaca_eval`
    package from its own data; None, with the reason in the log, where either is not at hand.

    `num_known`: how many of AlpacaEval's instructions the whole file of prompts has. One with rows
    missing has another rate than the published one.
    """
    rows = [row for row in annotations if row["preference"] is not None]
    if not rows or not all("index" in row for row in rows):
        logger.info("no length-controlled win rate: the prompts judged are not AlpacaEval's")
        return None
    if num_known != num_instructions():
        logger.warning(
            "no length-controlled win rate: evaluate.prompts_path has %d of AlpacaEval's %d "
            "prompts: give the whole file (evaluate.limit takes its first rows)",
            *(num_known, num_instructions()),
        )
        return None
    try:
        from alpaca_eval import constants
        from alpaca_eval.metrics.glm_winrate import get_length_controlled_winrate
        from huggingface_hub import try_to_load_from_cache
    except ImportError as error:
        logger.info("no length-controlled win rate: %s", error)
        return None
    data = try_to_load_from_cache(
        "tatsu-lab/alpaca_eval",
        "df_gamed.csv",
        repo_type="dataset",
        cache_dir=constants.DEFAULT_CACHE_DIR,
    )
    if not isinstance(data, str):
        logger.info("no length-controlled win rate: alpaca_eval's df_gamed.csv is not at hand")
        return None
    try:
        metrics = get_length_controlled_winrate(rows, save_weights_dir=None)
    except Exception as error:
        # another package's extra number must not take ours with it, which may have been paid for
        logger.warning("no length-controlled win rate: alpaca_eval fails: %r", error)
        return None
    return float(metrics["length_controlled_winrate"])
