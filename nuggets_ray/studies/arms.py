"""The arms of the correlation study: which rows each model is trained on.

    group-1 ... group-G   as many rows each, of rising signal (study.by)
    random                as many rows as a group, another draw for each training; random-tokens as
                          many answer tokens as the top group
    top-tokens            the best by the signal, of as many answer tokens as a mean group
    longest, ifd, rds     the top of each, of as many rows; -tokens: of as many answer tokens as the
                          top group

The bottom in rows is group-1. Equal scores are told apart by mean delta, then example_id, as in a
selection. Legend: N rows (distinct contents), K of an arm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nuggets_ray.errors import UserError
from nuggets_ray.signals.random import random_order

GROUP, RANDOM, OTHER = "group", "random", "other"
BESIDE = ("longest", "ifd", "rds")
MIN_GROUP_ROWS = 4


@dataclass(frozen=True, slots=True)
class StudyRows:
    """The rows that arms are made of: `values` {signal: (N,), NaN where a row has none}; of rds the
    turn at which a row is taken, negated, so that higher is sooner."""

    example_id_N: np.ndarray
    mean_delta_N: np.ndarray
    num_answer_tokens_N: np.ndarray
    values: Mapping[str, np.ndarray]

    def ranked(self, signal: str) -> np.ndarray:
        """The rows that have the signal, highest first."""
        value_N = self.values[signal]
        order = np.lexsort((self.example_id_N, -self.mean_delta_N, -value_N))
        ranked: np.ndarray = order[~np.isnan(value_N[order])]
        return ranked


@dataclass(frozen=True, slots=True)
class TrainingArm:
    """The rows of one training: of arm `name`, of its `seed`-th."""

    name: str
    kind: str
    seed: int
    row_K: np.ndarray

    @property
    def label(self) -> str:
        """The name of its selection and its model."""
        return f"study-{self.name}-{self.seed}"


def plan_arms(
    rows: StudyRows, by: str, num_groups: int, num_seeds: int, seed: int
) -> tuple[list[TrainingArm], list[str]]:
    """Every training, seed by seed, and what is left out because the run lacks its signal.

    Raises UserError where the signal `by` is not there, or too few rows have it.
    """
    groups = _groups(rows, by, num_groups)
    top = groups[-1]
    tokens_N = rows.num_answer_tokens_N
    num_tokens = int(tokens_N[top].sum())
    mean_tokens = int(tokens_N[np.concatenate(groups)].sum() / num_groups)
    fixed: dict[str, np.ndarray] = {
        f"group-{number + 1}": group for number, group in enumerate(groups)
    }
    ranked = rows.ranked(by)
    fixed["top-tokens"] = _of_tokens(ranked, tokens_N, mean_tokens)
    fixed["bottom-tokens"] = _of_tokens(ranked[::-1], tokens_N, num_tokens)
    missing = []
    for signal in BESIDE:
        if signal not in rows.values or np.isnan(rows.values[signal]).all():
            missing.append(signal)
        elif signal != by:
            order = rows.ranked(signal)
            fixed[signal] = order[: len(top)]
            fixed[f"{signal}-tokens"] = _of_tokens(order, tokens_N, num_tokens)
    arms = []
    for number in range(num_seeds):
        arms += [
            TrainingArm(name, GROUP if name.startswith("group-") else OTHER, number, row_K)
            for name, row_K in fixed.items()
        ]
        drawn = random_order(rows.example_id_N, seed, number)
        arms.append(TrainingArm("random", RANDOM, number, drawn[: len(top)]))
        in_tokens = _of_tokens(drawn, tokens_N, num_tokens)
        arms.append(TrainingArm("random-tokens", RANDOM, number, in_tokens))
    return arms, missing


def only(arms: Sequence[TrainingArm], names: Sequence[str]) -> list[TrainingArm]:
    """Those of these names (study.arms), all where none is named. Raises UserError for another."""
    known = list(dict.fromkeys(arm.name for arm in arms))
    for name in names:
        if name not in known:
            raise UserError(f"study.arms={name}: there is no such arm; take some of {known}")
    return [arm for arm in arms if not names or arm.name in names]


def _groups(rows: StudyRows, by: str, num_groups: int) -> list[np.ndarray]:
    """As many rows each, lowest signal first; the rows that are left over are the middle ones."""
    rising = rows.ranked(by)[::-1]
    size = len(rising) // num_groups
    if size < MIN_GROUP_ROWS:
        raise UserError(
            f"study.groups={num_groups}: {len(rising)} rows have {by}, and a group takes at least "
            f"{MIN_GROUP_ROWS}: score more rows, lower it, or take another study.by"
        )
    left_over = len(rising) - size * num_groups
    middle = size * (num_groups // 2)
    kept = np.concatenate([rising[:middle], rising[middle + left_over :]])
    return [kept[start : start + size] for start in range(0, size * num_groups, size)]


def _of_tokens(order: np.ndarray, tokens_N: np.ndarray, wanted: int) -> np.ndarray:
    """The first rows whose answer tokens come nearest to `wanted`, at least one."""
    total_N = np.cumsum(tokens_N[order])
    return order[: int(np.argmin(np.abs(total_N - wanted))) + 1]
