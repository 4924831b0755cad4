"""What the arms of an experiment show about golden against random draws and the other arms.

    golden outside   mean +- t(K-1) sd sqrt(1 + 1/K)   of K random draws          (spread of draws)
    mean over rows of (golden - mean of draws), its interval and its sign-flip p   (spread of rows)
Every arm is compared on the same rows, and p-values are corrected for all comparisons (Holm).
Suffixes: N rows, K draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nuggets_ray.evaluate import stats
from nuggets_ray.evaluate.verdict.reliability import LengthEffect, SplitHalf

GOLDEN, RANDOM, BOTTOM, OTHER = "golden", "random", "bottom", "other"
KINDS = (GOLDEN, RANDOM, BOTTOM, OTHER)
DRAWS, TOKEN_DRAWS = "random draws", "random draws matched in tokens"
ALPHA = 0.05
MIN_DRAWS = 3
"""Fewer random draws do not show how far draws differ by chance."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A model that was evaluated: `value_N` is its primary value a row, higher is better, NaN where
    it has none; all arms have the same rows in one order.

    `kind` is golden, random, bottom or other (base, longest, full). `matched_in_tokens`: a random
    draw with as many training tokens as golden, not as many rows.
    """

    name: str
    kind: str
    value_N: np.ndarray
    matched_in_tokens: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """Golden minus another arm over the same rows, with the bootstrap's 95% interval (None: rows
    show no spread), the sign-flip p, and that p after Holm's correction."""

    against: str
    value: float
    low: float | None
    high: float | None
    p_value: float
    p_holm: float

    @property
    def direction(self) -> int:
        """1: golden is higher, -1: lower, 0: not told apart."""
        if self.p_holm >= ALPHA:
            return 0
        if self.low is not None and self.high is not None and self.low <= 0 <= self.high:
            return 0
        return 1 if self.value > 0 else -1


@dataclass(frozen=True, slots=True)
class Evidence:
    """All numbers of a verdict: `values` {arm: weighted mean over the rows compared}, the spread of
    the draws, `differences` with the draws' mean first, and what the scores themselves show.

    `arms_without_values` were left out whole; `num_rows_left_out` rows lack a value of some other
    arm.
    """

    metric: str
    golden: str
    values: Mapping[str, float]
    draws: tuple[str, ...]
    draws_matched_in_tokens: tuple[str, ...]
    draw_mean: float | None
    draw_sd: float | None
    prediction_low: float | None
    prediction_high: float | None
    differences: tuple[Difference, ...]
    bottom: str | None
    num_rows: int
    num_rows_left_out: int
    arms_without_values: tuple[str, ...]
    stability: SplitHalf | None = None
    length: LengthEffect | None = None

    @property
    def against_draws(self) -> Difference | None:
        """Golden minus the mean of all random draws, row by row."""
        return next(
            (difference for difference in self.differences if difference.against == DRAWS), None
        )

    @property
    def side_of_draws(self) -> int:
        """1: golden lies above where a further draw would (95%), -1: below, 0: within, or where
        that is unknown."""
        if self.prediction_low is None or self.prediction_high is None:
            return 0
        value = self.values[self.golden]
        return int(value > self.prediction_high) - int(value < self.prediction_low)


def gather(
    arms: Sequence[Arm],
    metric: str,
    weight_N: np.ndarray | None = None,
    stability: SplitHalf | None = None,
    length: LengthEffect | None = None,
    seed: int = 0,
) -> Evidence:
    """The numbers behind a verdict on `metric`; rows count by `weight_N` (None: equally).

    Raises ValueError unless exactly one arm is golden, names differ and all arms have as many rows.
    """
    golden = _checked(arms)
    usable = [arm for arm in arms if np.isfinite(arm.value_N).any()]
    is_whole_N = np.all([np.isfinite(arm.value_N) for arm in usable or arms], axis=0)
    rows = np.flatnonzero(is_whole_N)
    if golden not in usable or not len(rows):
        usable, rows = [], rows[:0]
    weights = np.ones(len(rows)) if weight_N is None else np.asarray(weight_N, np.float64)[rows]
    value_of = {arm.name: np.asarray(arm.value_N, np.float64)[rows] for arm in usable}
    values = {name: stats.weighted_mean(of_model, weights) for name, of_model in value_of.items()}
    draws = [arm for arm in usable if arm.kind == RANDOM]
    draw_values = np.array([values[arm.name] for arm in draws])
    prediction_low, prediction_high = stats.prediction_interval(draw_values) or (None, None)
    return Evidence(
        metric=metric,
        golden=golden.name,
        values=values,
        draws=tuple(arm.name for arm in draws),
        draws_matched_in_tokens=tuple(arm.name for arm in draws if arm.matched_in_tokens),
        draw_mean=float(draw_values.mean()) if len(draws) else None,
        draw_sd=float(draw_values.std(ddof=1)) if len(draws) > 1 else None,
        prediction_low=prediction_low,
        prediction_high=prediction_high,
        differences=_differences(golden.name, value_of, _opponents(usable), weights, seed),
        bottom=next((arm.name for arm in usable if arm.kind == BOTTOM), None),
        num_rows=len(rows),
        num_rows_left_out=len(golden.value_N) - len(rows),
        arms_without_values=tuple(arm.name for arm in arms if not np.isfinite(arm.value_N).any()),
        stability=stability,
        length=length,
    )


def _checked(arms: Sequence[Arm]) -> Arm:
    """The golden arm."""
    golden = [arm for arm in arms if arm.kind == GOLDEN]
    if len(golden) != 1 or len({arm.name for arm in arms}) < len(arms):
        raise ValueError("a verdict needs one golden arm, and a name of its own for each arm")
    for arm in arms:
        if arm.kind not in KINDS:
            raise ValueError(f"{arm.name}: {arm.kind} is no kind of arm")
        if np.shape(arm.value_N) != np.shape(golden[0].value_N):
            raise ValueError(f"{arm.name} and {golden[0].name} have different numbers of rows")
    return golden[0]


def _opponents(arms: Sequence[Arm]) -> dict[str, list[str]]:
    """{what golden is compared with: the arms whose mean that is}, the draws first."""
    draws = [arm for arm in arms if arm.kind == RANDOM]
    in_tokens = [arm.name for arm in draws if arm.matched_in_tokens]
    opponents = {DRAWS: [arm.name for arm in draws]} if draws else {}
    if in_tokens and len(in_tokens) < len(draws):
        opponents[TOKEN_DRAWS] = in_tokens
    others = [arm.name for arm in arms if arm.kind in (BOTTOM, OTHER)]
    return {**opponents, **{name: [name] for name in others}}


def _differences(
    golden: str,
    value_of: Mapping[str, np.ndarray],
    opponents: Mapping[str, list[str]],
    weights: np.ndarray,
    seed: int,
) -> tuple[Difference, ...]:
    differences = []
    for against, names in opponents.items():
        other_N = np.mean([value_of[name] for name in names], axis=0)
        difference = value_of[golden] - other_N
        # or the mean of three equal numbers differs from them, always to the same side
        difference[np.abs(difference) <= stats.ROUNDING * np.abs(other_N)] = 0.0
        low, high = stats.bootstrap_interval(difference, seed, weights) or (None, None)
        p_value = stats.sign_flip_test(difference, seed, weights)
        value = stats.weighted_mean(difference, weights)
        differences.append(Difference(against, value, low, high, p_value, p_value))
    corrected = stats.holm({one.against: one.p_value for one in differences})
    return tuple(replace(one, p_holm=corrected[one.against]) for one in differences)
