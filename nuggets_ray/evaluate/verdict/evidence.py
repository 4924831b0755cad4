"""What the arms of an experiment show about golden against random draws and the other arms.

Draws matched in rows and draws matched in tokens are two kinds. Each keeps its own mean; how far
trainings differ by chance is pooled within the kinds, never over the step between them:
    golden outside a kind:   mean +- t(df) sd sqrt(1 + 1/K),   df = sum over kinds of K - 1
    golden minus a kind's mean, row by row: its interval and its sign-flip p     (spread of rows)
Every arm is compared on the same rows, and p-values are corrected for all comparisons (Holm).
Suffixes: N rows, K draws of a kind.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nuggets_ray.evaluate import stats
from nuggets_ray.evaluate.verdict.power import (
    MIN_DEGREES,
    degrees_of_freedom,
    detectable_effect,
)
from nuggets_ray.evaluate.verdict.reliability import LengthEffect, SplitHalf

GOLDEN, RANDOM, BOTTOM, OTHER = "golden", "random", "bottom", "other"
KINDS = (GOLDEN, RANDOM, BOTTOM, OTHER)
ROW_DRAWS, TOKEN_DRAWS = "random draws matched in rows", "random draws matched in tokens"
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Arm:
    """A model that was evaluated: `value_N` is its primary value a row, higher is better, NaN where
    it has none; all arms have the same rows in one order.

    `kind` is golden, random, bottom or other (base, longest, full). `matched_in_tokens`: a random
    draw with as many training tokens as golden, not as many rows. `by_posterior`: a bottom of the
    lowest posterior scores, as a race leaves the worst rows without a golden score.
    """

    name: str
    kind: str
    value_N: np.ndarray
    matched_in_tokens: bool = False
    by_posterior: bool = False

    @property
    def ranked_by(self) -> str:
        """What the rows of a golden or a bottom one were ranked by."""
        return "posterior_score" if self.by_posterior else "golden_score"


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
class Draws:
    """The random draws of one kind: the arms' names, the mean of their values, and where a further
    one would lie with 95% (None: how far trainings differ is not known).
    """

    kind: str
    arms: tuple[str, ...]
    mean: float
    low: float | None
    high: float | None

    def side_of(self, value: float) -> int | None:
        """1: above where a further draw would lie, -1: below, 0: within; None: not known."""
        if self.low is None or self.high is None:
            return None
        return int(value > self.high) - int(value < self.low)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All numbers of a verdict: `values` {arm: weighted mean over the rows compared}, the draws of
    each kind, how far trainings differ (`training_sd`, from so many degrees of freedom),
    `differences` with those from the draws first, and what the scores themselves show.

    `detectable_effect`: an effect that would have been missed half of the time, in the metric's
    unit. `arms_without_values` were left out whole; `num_rows_left_out` rows lack a value of some
    other arm.
    """

    metric: str
    golden: str
    values: Mapping[str, float]
    draws: tuple[Draws, ...]
    training_sd: float | None
    degrees_of_freedom: int
    detectable_effect: float | None
    differences: tuple[Difference, ...]
    bottom: str | None
    bottom_by: str | None
    num_rows: int
    num_rows_left_out: int
    arms_without_values: tuple[str, ...]
    stability: SplitHalf | None = None
    length: LengthEffect | None = None

    def named(self, name: str) -> str:
        """An arm as people are told of it: a race leaves the worst rows without a golden score, so
        its bottom is another than full scoring's."""
        is_other = name == self.bottom and self.bottom_by == "posterior_score"
        return f"{name} (of the lowest posterior scores)" if is_other else name

    def of_kind(self, kind: str) -> Draws | None:
        """The draws of a kind, None where there are none."""
        return next((draws for draws in self.draws if draws.kind == kind), None)

    def against(self, name: str) -> Difference | None:
        """Golden minus an arm, or minus the mean of a kind of draws, row by row."""
        return next((one for one in self.differences if one.against == name), None)

    def side_of(self, draws: Draws) -> int:
        """1 where golden lies above where a further draw of the kind would and, of several draws,
        differs from their mean over the rows too; -1 below; 0 where that is not so or not known.
        """
        side = draws.side_of(self.values[self.golden]) or 0
        paired = self.against(draws.kind)
        if paired is None or (len(draws.arms) > 1 and paired.direction != side):
            return 0
        return side


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
    values = {name: stats.weighted_mean(value_M, weights) for name, value_M in value_of.items()}
    names_of = _draws_by_kind(usable)
    spread = stats.pooled_sd([_array(values, names) for names in names_of.values()])
    degrees = degrees_of_freedom([len(names) for names in names_of.values()])
    if degrees < MIN_DEGREES:
        spread = None
    bottom = next((arm for arm in usable if arm.kind == BOTTOM), None)
    effect = detectable_effect([len(names) for names in names_of.values()])
    return Evidence(
        metric=metric,
        golden=golden.name,
        values=values,
        draws=tuple(_draws(kind, names, values, spread) for kind, names in names_of.items()),
        training_sd=None if spread is None else spread[0],
        degrees_of_freedom=degrees,
        detectable_effect=None if spread is None or effect is None else effect * spread[0],
        differences=_differences(golden.name, value_of, _opponents(usable), weights, seed),
        bottom=None if bottom is None else bottom.name,
        bottom_by=None if bottom is None else bottom.ranked_by,
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


def _draws_by_kind(arms: Sequence[Arm]) -> dict[str, list[str]]:
    """{kind of draws that is there: its arms}"""
    draws = [arm for arm in arms if arm.kind == RANDOM]
    kinds = {
        ROW_DRAWS: [arm.name for arm in draws if not arm.matched_in_tokens],
        TOKEN_DRAWS: [arm.name for arm in draws if arm.matched_in_tokens],
    }
    return {kind: names for kind, names in kinds.items() if names}


def _draws(
    kind: str, names: Sequence[str], values: Mapping[str, float], spread: tuple[float, int] | None
) -> Draws:
    value_K = _array(values, names)
    low, high = (None, None) if spread is None else stats.prediction_interval(value_K, *spread)
    return Draws(kind, tuple(names), float(value_K.mean()), low, high)


def _array(values: Mapping[str, float], names: Sequence[str]) -> np.ndarray:
    return np.array([values[name] for name in names])


def _opponents(arms: Sequence[Arm]) -> dict[str, list[str]]:
    """{what golden is compared with: the arms whose mean that is}, the draws first."""
    others = [arm.name for arm in arms if arm.kind in (BOTTOM, OTHER)]
    return {**_draws_by_kind(arms), **{name: [name] for name in others}}


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
