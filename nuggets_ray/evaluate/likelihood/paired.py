"""The held-out rows of all models side by side: who gave each answer which log-prob.

A row counts only where every model has it, so that all numbers are about the same rows. Suffix: N
rows.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nuggets_ray.errors import UserError
from nuggets_ray.evaluate import stats

BENCHMARK = "likelihood"
MEAN_LOGPROB, WIN_RATE = "mean_logprob", "win_rate"
NUM_STRATA = 4


@dataclass(frozen=True, slots=True)
class RowLogProbs:
    """What one model gives one held-out row: `sum_logprob` in nats over its answer tokens."""

    example_id: str
    category: str | None
    num_answer_tokens: int
    sum_logprob: float


@dataclass(frozen=True, slots=True)
class Paired:
    """The rows that every model has, in one order: arrays of shape (N,).

    `sum_logprob` maps a model to nats over the answer, `stratum_N` numbers the quartiles of answer
    length from 0, and `num_left_out` counts rows by the reason why they are not here.
    """

    example_ids: tuple[str, ...]
    categories: tuple[str | None, ...]
    num_answer_tokens_N: np.ndarray
    stratum_N: np.ndarray
    sum_logprob: Mapping[str, np.ndarray]
    num_left_out: Mapping[str, int]

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(self.sum_logprob)


def pair_rows(rows: Mapping[str, Sequence[RowLogProbs]]) -> Paired:
    """The rows of all models side by side, in the first model's order.

    A row that some model lacks, that has no answer token, or whose log-prob is not finite under
    some model, is left out for all and counted. Raises UserError where no row is left, or where
    models cut the same answer into different numbers of tokens; ValueError for an id met twice.
    """
    by_id = {
        model: {row.example_id: row for row in model_rows} for model, model_rows in rows.items()
    }
    for model, model_rows in rows.items():
        if len(by_id[model]) < len(model_rows):
            raise ValueError(f"{model}: an example_id is there twice")
    kept: list[list[RowLogProbs]] = []
    num_left_out: dict[str, int] = {}
    for example_id in dict.fromkeys(
        row.example_id for model_rows in rows.values() for row in model_rows
    ):
        row = [by_id[model][example_id] for model in rows if example_id in by_id[model]]
        if reason := _why_left_out(row, len(rows)):
            num_left_out[reason] = num_left_out.get(reason, 0) + 1
        else:
            kept.append(row)
    if not kept:
        raise UserError(
            f"evaluate.models={list(rows)}: no held-out row has a finite log-prob under all of "
            f"them ({num_left_out}): name fewer models, or set data.holdout"
        )
    _check_tokens(kept, list(rows))
    lengths_N = np.array([row[0].num_answer_tokens for row in kept])
    return Paired(
        example_ids=tuple(row[0].example_id for row in kept),
        categories=tuple(row[0].category for row in kept),
        num_answer_tokens_N=lengths_N,
        stratum_N=np.searchsorted(_edges(lengths_N), lengths_N),
        sum_logprob={
            model: np.array([row[i].sum_logprob for row in kept]) for i, model in enumerate(rows)
        },
        num_left_out=num_left_out,
    )


def _why_left_out(row: Sequence[RowLogProbs], num_models: int) -> str | None:
    if len(row) < num_models:
        return "missing_under_a_model"
    if any(one.num_answer_tokens < 1 for one in row):
        return "no_answer_token"
    if not all(math.isfinite(one.sum_logprob) for one in row):
        return "logprob_not_finite"
    return None


def _check_tokens(kept: Sequence[Sequence[RowLogProbs]], models: Sequence[str]) -> None:
    for row in kept:
        for model, one in zip(models, row, strict=True):
            if one.num_answer_tokens != row[0].num_answer_tokens:
                raise UserError(
                    f"evaluate.models: {model} cuts the answer of {one.example_id} into "
                    f"{one.num_answer_tokens} tokens, {models[0]} into {row[0].num_answer_tokens}; "
                    "log-probs per token of different tokenizers cannot be compared: leave one out"
                )


def _edges(lengths_N: np.ndarray) -> np.ndarray:
    """The longest answer of each stratum but the last, in tokens; equal quartiles are one."""
    edges = np.unique(np.quantile(lengths_N, np.arange(1, NUM_STRATA) / NUM_STRATA, method="lower"))
    return np.asarray(edges[edges < lengths_N.max()])


def row_values(
    paired: Paired, metric: str, base: str = "base"
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What the verdict compares: each model's value a row, higher is better, and the rows' weights.

    mean_logprob: nats per answer token, weighted by answer tokens; win_rate: won (1), tied (0.5) or
    lost (0) against `base`. Their weighted means are the values in results.json. Raises UserError
    for another metric, and for win_rate without the base model.
    """
    lengths_N = paired.num_answer_tokens_N
    if metric == MEAN_LOGPROB:
        values = {model: sum_N / lengths_N for model, sum_N in paired.sum_logprob.items()}
        return values, lengths_N.astype(np.float64)
    if metric != WIN_RATE:
        raise UserError(
            f"evaluate.primary={BENCHMARK}/{metric} is no sum over rows, so no paired test decides "
            f"on it: name {BENCHMARK}/{WIN_RATE} or {BENCHMARK}/{MEAN_LOGPROB}"
        )
    if base not in paired.models:
        raise UserError(
            f"evaluate.primary={BENCHMARK}/{WIN_RATE} is the win rate against {base}, which "
            f"evaluate.models={list(paired.models)} lacks: add it"
        )
    sums = paired.sum_logprob
    values = {model: stats.outcomes(sums[model], sums[base]) for model in paired.models}
    return values, np.ones(len(lengths_N))
