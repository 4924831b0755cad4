"""Held-out rows by likelihood: log-prob per answer token, perplexity, and paired win rates.

    mean log-prob = sum over rows of sum log-prob / sum over rows of answer tokens  (nats per token)
    win rate      = share of rows whose mean log-prob is higher under the one model, ties half
Over all rows, by category and by quartile of answer length. Suffixes: N rows, S strata.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nuggets_ray.evaluate import stats
from nuggets_ray.evaluate.likelihood.paired import BENCHMARK, MEAN_LOGPROB, WIN_RATE, Paired
from nuggets_ray.evaluate.results import ALL, Result

PERPLEXITY = "perplexity"
LENGTH_MATCHED = "length_matched_win_rate"
ANSWER_TOKENS = "answer_tokens="


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Who is compared with whom, and what belongs to every number.

    `golden` names the models that are compared with every other, not with `base` alone.
    `training_lengths` maps a trained model to the answer lengths of its training rows, in tokens
    of the same tokenizer; `data` is {name: sha256} of what was read.
    """

    base: str | None = "base"
    golden: tuple[str, ...] = ("golden",)
    training_lengths: Mapping[str, np.ndarray] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0

    def pairs(self, models: Sequence[str]) -> list[tuple[str, str]]:
        """(model, the one it is compared with), each once."""
        with_base = [(m, self.base) for m in models if m != self.base and self.base in models]
        among = [
            (golden, other)
            for golden in self.golden
            for other in models
            if golden in models and other not in (golden, self.base)
        ]
        return [(model, str(other)) for model, other in with_base + among]


def likelihood_results(paired: Paired, comparisons: Comparisons) -> list[Result]:
    """mean_logprob and perplexity of each model and win_rate of each pair, over all rows and by
    subset, and length_matched_win_rate where both training sets' lengths are known.

    Subsets are `category=...` and `answer_tokens=1-34` (a quartile of the held-out rows). p-values
    are not corrected for the number of comparisons: the verdict does that for those it makes.
    """
    results: list[Result] = []
    for subset, rows in _subsets(paired).items():
        for model in paired.models:
            results += _model_results(paired, model, subset, rows, comparisons)
        for model, against in comparisons.pairs(paired.models):
            results.append(_win_rate_result(paired, (model, against), subset, rows, comparisons))
    for model, against in comparisons.pairs(paired.models):
        if {model, against} <= comparisons.training_lengths.keys():
            results.append(_length_matched_result(paired, (model, against), comparisons))
    return results


def _subsets(paired: Paired) -> dict[str, np.ndarray]:
    """{name of the subset: its row numbers}, the whole first."""
    subsets = {ALL: np.arange(len(paired.example_ids))}
    for category in sorted({name for name in paired.categories if name is not None}):
        is_in = [name == category for name in paired.categories]
        subsets[f"category={category}"] = np.flatnonzero(is_in)
    for stratum in np.unique(paired.stratum_N):
        rows = np.flatnonzero(paired.stratum_N == stratum)
        lengths = paired.num_answer_tokens_N[rows]
        subsets[f"{ANSWER_TOKENS}{lengths.min()}-{lengths.max()}"] = rows
    return subsets


def _model_results(
    paired: Paired, model: str, subset: str, rows: np.ndarray, comparisons: Comparisons
) -> list[Result]:
    lengths = paired.num_answer_tokens_N[rows]
    value = paired.sum_logprob[model][rows] / lengths
    mean = stats.weighted_mean(value, lengths)
    low, high = stats.bootstrap_interval(value, comparisons.seed, lengths) or (None, None)
    common: dict[str, Any] = {
        "model": model,
        "benchmark": BENCHMARK,
        "n": len(rows),
        "subset": subset,
        "data": comparisons.data,
    }
    details = {
        "num_answer_tokens": int(lengths.sum()),
        "num_left_out": dict(paired.num_left_out),
        **stats.why_no_interval(len(rows)),
    }
    return [
        Result(metric=MEAN_LOGPROB, value=mean, low=low, high=high, details=details, **common),
        Result(
            metric=PERPLEXITY,
            value=_perplexity(mean),
            low=_perplexity(high),
            high=_perplexity(low),
            details=details,
            **common,
        ),
    ]


def _perplexity(mean_logprob: float | None) -> float | None:
    """exp(-mean); None where it is unknown or past the largest float."""
    if mean_logprob is None or mean_logprob < -700:
        return None
    return math.exp(-mean_logprob)


def _win_rate_result(
    paired: Paired, pair: tuple[str, str], subset: str, rows: np.ndarray, comparisons: Comparisons
) -> Result:
    # same answers, same numbers of tokens: the sums compare as the means do
    first, second = (paired.sum_logprob[model][rows] for model in pair)
    rate = stats.win_rate(stats.outcomes(first, second))
    low, high = rate.bounds or (None, None)
    return Result(
        model=pair[0],
        benchmark=BENCHMARK,
        metric=WIN_RATE,
        value=rate.value,
        n=len(rows),
        low=low,
        high=high,
        subset=subset,
        against=pair[1],
        data=comparisons.data,
        details={
            "num_wins": rate.num_wins,
            "num_losses": rate.num_losses,
            "num_ties": rate.num_ties,
            "sign_test_p": rate.p_value,
            "num_left_out": dict(paired.num_left_out),
        },
    )


def length_match_weights(
    paired: Paired, first_lengths: np.ndarray, second_lengths: np.ndarray
) -> np.ndarray:
    """The weight of each row, summing to 1, that makes the held-out answers as long as those the
    two models were trained on: shape (N,), 0 in a quartile that neither was trained on.

    Both models are scored on the same answers, so within a row length is matched already; what can
    favour one of them is the mix of lengths, which is closest to the training set drawn like the
    held-out rows. Each quartile of answer length therefore counts by the mean of its shares in the
    two training sets (lengths in tokens), and rows within it count equally.
    """
    strata_S = np.unique(paired.stratum_N)
    longest_S = [paired.num_answer_tokens_N[paired.stratum_N == s].max() for s in strata_S]
    shares = [
        np.bincount(np.searchsorted(longest_S[:-1], lengths), minlength=len(strata_S))
        / len(lengths)
        for lengths in (first_lengths, second_lengths)
    ]
    share_S = (shares[0] + shares[1]) / 2
    num_rows_S = np.bincount(paired.stratum_N, minlength=len(strata_S))
    return np.asarray((share_S / num_rows_S)[paired.stratum_N])


def _length_matched_result(
    paired: Paired, pair: tuple[str, str], comparisons: Comparisons
) -> Result:
    first, second = (comparisons.training_lengths[model] for model in pair)
    weight_N = length_match_weights(paired, first, second)
    rows = np.flatnonzero(weight_N)
    weights, strata = weight_N[rows], paired.stratum_N[rows]
    sums = paired.sum_logprob
    outcome = stats.outcomes(sums[pair[0]][rows], sums[pair[1]][rows])
    low, high = stats.bootstrap_interval(outcome, comparisons.seed, weights, strata) or (None, None)
    if low is not None and high is not None:
        low, high = max(low, 0.0), min(high, 1.0)
    p_value = stats.sign_flip_test(outcome - 0.5, comparisons.seed, weights)
    by_subset = {
        name: float(weight_N[of_subset].sum())
        for name, of_subset in _subsets(paired).items()
        if name.startswith(ANSWER_TOKENS)
    }
    return Result(
        model=pair[0],
        benchmark=BENCHMARK,
        metric=LENGTH_MATCHED,
        value=stats.weighted_mean(outcome, weights),
        n=len(rows),
        low=low,
        high=high,
        against=pair[1],
        data=comparisons.data,
        details={
            "weights": by_subset,
            "effective_rows": float(1 / (weights**2).sum()),
            "sign_flip_p": p_value,
            "num_left_out": dict(paired.num_left_out),
            **stats.why_no_interval(len(rows), p_value),
        },
    )
