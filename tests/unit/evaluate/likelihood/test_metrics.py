"""Likelihood results against numbers worked out by hand."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from nuggets_ray.errors import UserError
from nuggets_ray.evaluate import stats
from nuggets_ray.evaluate.likelihood.metrics import (
    Comparisons,
    length_match_weights,
    likelihood_results,
)
from nuggets_ray.evaluate.likelihood.paired import Paired, RowLogProbs, pair_rows, row_values
from nuggets_ray.evaluate.results import Result
from nuggets_ray.evaluate.tables import interval_text

LENGTHS = [1, 2, 3, 4, 5, 6, 7, 8]


def make_rows(logprobs, lengths=LENGTHS, categories=None) -> list[RowLogProbs]:
    """`logprobs` are nats per answer token."""
    return [
        RowLogProbs(f"r{i}", categories[i] if categories else None, length, length * logprob)
        for i, (length, logprob) in enumerate(zip(lengths, logprobs, strict=True))
    ]


def paired(categories=None, **logprobs) -> Paired:
    return pair_rows({m: make_rows(found, categories=categories) for m, found in logprobs.items()})


def find(results: list[Result], **fields) -> Result:
    (found,) = (r for r in results if all(getattr(r, k) == v for k, v in fields.items()))
    return found


def test_mean_is_over_tokens_and_perplexity_its_exponential() -> None:
    """1 token at -1 and 3 at -2: -7 / 4."""
    rows = pair_rows({"base": make_rows([-1.0, -2.0] * 20, lengths=[1, 3] * 20)})
    results = likelihood_results(rows, Comparisons())
    mean = find(results, metric="mean_logprob", subset="all")
    perplexity = find(results, metric="perplexity", subset="all")
    assert (mean.value, mean.n, mean.details["num_answer_tokens"]) == (-1.75, 40, 80)
    assert perplexity.value == pytest.approx(math.exp(1.75))
    assert mean.low is not None and mean.high is not None
    assert (perplexity.low, perplexity.high) == (math.exp(-mean.high), math.exp(-mean.low))
    assert not [r for r in results if r.metric == "win_rate"]


def test_win_rate_by_hand() -> None:
    """golden is higher in 6 rows, equal in 1, lower in 1."""
    golden = [-1.0] * 6 + [-2.0, -3.0]
    results = likelihood_results(paired(base=[-2.0] * 8, golden=golden), Comparisons())
    rate = find(results, metric="win_rate", subset="all")
    assert (rate.model, rate.against, rate.value, rate.n) == ("golden", "base", 6.5 / 8, 8)
    assert rate.details["sign_test_p"] == pytest.approx(16 / 128)
    assert (rate.details["num_wins"], rate.details["num_ties"]) == (6, 1)
    assert rate.low is not None and rate.high is not None and rate.low < rate.value < rate.high


def test_who_is_compared_with_whom() -> None:
    names = ["base", "golden", "random-0", "golden-2"]
    assert Comparisons(golden=("golden", "golden-2", "absent")).pairs(names) == [
        ("golden", "base"),
        ("random-0", "base"),
        ("golden-2", "base"),
        ("golden", "random-0"),
        ("golden", "golden-2"),
        ("golden-2", "golden"),
        ("golden-2", "random-0"),
    ]
    assert Comparisons(base=None).pairs(["base", "golden"]) == [("golden", "base")]
    assert Comparisons(base="absent").pairs(["golden", "longest"]) == [("golden", "longest")]


def test_subsets_by_category_and_quartile() -> None:
    golden = [-1.0] * 4 + [-3.0] * 4
    rows = paired(categories=["b", "a"] * 3 + ["a", None], base=[-2.0] * 8, golden=golden)
    results = [r for r in likelihood_results(rows, Comparisons()) if r.metric == "win_rate"]
    assert {r.subset: (r.value, r.n) for r in results} == {
        "all": (0.5, 8),
        "category=a": (0.5, 4),
        "category=b": (2 / 3, 3),
        "answer_tokens=1-2": (1.0, 2),
        "answer_tokens=3-4": (1.0, 2),
        "answer_tokens=5-6": (0.0, 2),
        "answer_tokens=7-8": (0.0, 2),
    }


def test_answers_of_one_length_are_one_stratum() -> None:
    rows = pair_rows({"base": make_rows([-1.0] * 5, lengths=[7] * 5)})
    subsets = {result.subset for result in likelihood_results(rows, Comparisons())}
    assert subsets == {"all", "answer_tokens=7-7"}
    skewed = pair_rows({"base": make_rows([-1.0] * 5, lengths=[7, 7, 7, 7, 9])})
    assert skewed.stratum_N.tolist() == [0, 0, 0, 0, 1]


def test_rows_left_out_are_counted() -> None:
    base = make_rows([-1.0, math.nan, -1.0, -1.0], lengths=[2, 2, 0, 2])
    golden = make_rows([-0.5, -0.5, -0.5, -0.5], lengths=[2, 2, 0, 2])[:3]
    rows = pair_rows({"base": base, "golden": golden})
    assert rows.example_ids == ("r0",)
    assert rows.num_left_out == {
        "logprob_not_finite": 1,
        "no_answer_token": 1,
        "missing_under_a_model": 1,
    }
    for result in likelihood_results(rows, Comparisons()):
        assert result.details["num_left_out"] == rows.num_left_out
        assert result.n == 1 and (result.low is None or result.metric == "win_rate")


def test_length_match_weights_by_hand() -> None:
    """Quartiles 1-2, 3-4, 5-6, 7-8 of two rows each; one training set is all short, of the other a
    half is longer than any held-out answer and a half in the third quartile."""
    rows = paired(base=[-2.0] * 8)
    weight_N = length_match_weights(rows, np.array([1, 2, 1, 2]), np.array([5, 900]))
    assert weight_N.tolist() == [0.25, 0.25, 0, 0, 0.125, 0.125, 0.125, 0.125]


def test_length_matched_win_rate_by_hand() -> None:
    """golden wins the two short quartiles only: plain 1/2; its training set is short, random's is
    like the held-out rows, so short counts (1 + 1/2) / 2."""
    golden = [-1.0] * 4 + [-3.0] * 4
    rows = paired(base=[-4.0] * 8, golden=golden, **{"random-0": [-2.0] * 8})
    lengths = {"golden": np.array([1, 1, 2, 4]), "random-0": np.array(LENGTHS)}
    results = likelihood_results(rows, Comparisons(training_lengths=lengths))
    plain = find(results, metric="win_rate", subset="all", model="golden", against="random-0")
    matched = find(results, metric="length_matched_win_rate")
    assert (plain.value, matched.value) == (0.5, 0.75)
    assert (matched.model, matched.against) == ("golden", "random-0"), "base was trained on nothing"
    weights = matched.details["weights"]
    assert weights["answer_tokens=1-2"] == 0.5 and sum(weights.values()) == 1
    # quartiles count 1/2, 1/4, 1/8 and 1/8, each over two rows
    expected = 1 / (2 * (1 / 16 + 1 / 64 + 2 / 256))
    assert matched.details["effective_rows"] == pytest.approx(expected)


def test_the_interval_of_the_mean_resamples_tokens_with_their_row() -> None:
    logprob_N = np.random.default_rng(0).normal(-2, 1, 40)
    lengths = [*range(1, 41)]
    rows = pair_rows({"base": make_rows(list(logprob_N), lengths=lengths)})
    mean = find(likelihood_results(rows, Comparisons(seed=5)), metric="mean_logprob", subset="all")
    expected = stats.bootstrap_interval(logprob_N, 5, np.array(lengths))
    assert (mean.low, mean.high) == pytest.approx(expected)


def test_a_handful_of_rows_has_no_interval_and_says_so() -> None:
    results = likelihood_results(paired(base=[-2.0] * 8), Comparisons())
    mean = find(results, metric="mean_logprob", subset="all")
    assert (mean.low, mean.high) == (None, None)
    assert interval_text(mean) == "too few for an interval"


def test_the_length_matched_interval_keeps_the_strata() -> None:
    """Golden wins 19 of 20 short rows and loses 19 of 20 long ones: what differs between strata is
    no doubt about the rate."""
    lengths = [1] * 20 + [9] * 20
    golden = [-1.0] * 19 + [-3.0] * 20 + [-1.0]
    rows = pair_rows(
        {
            "golden": make_rows(golden, lengths=lengths),
            "longest": make_rows([-2.0] * 40, lengths=lengths),
        }
    )
    training = {"golden": np.array([1]), "longest": np.array([9])}
    results = likelihood_results(rows, Comparisons(training_lengths=training))
    plain = find(results, metric="win_rate", subset="all")
    matched = find(results, metric="length_matched_win_rate")
    assert plain.value == matched.value == pytest.approx(0.5)
    assert matched.high - matched.low < 0.6 * (plain.high - plain.low)


def test_equal_training_lengths_like_the_held_out_rows_change_nothing() -> None:
    rng = np.random.default_rng(0)
    rows = paired(golden=rng.normal(-2, 1, 8), longest=rng.normal(-2, 1, 8))
    lengths = {"golden": np.array(LENGTHS), "longest": np.array(LENGTHS)}
    results = likelihood_results(rows, Comparisons(training_lengths=lengths))
    plain = find(results, metric="win_rate", subset="all")
    assert find(results, metric="length_matched_win_rate").value == pytest.approx(plain.value)


def test_row_values_average_to_the_results() -> None:
    rng = np.random.default_rng(0)
    rows = paired(base=rng.normal(-2, 1, 8), golden=rng.normal(-2, 1, 8))
    results = likelihood_results(rows, Comparisons())
    for metric in ("mean_logprob", "win_rate"):
        values, weight_N = row_values(rows, metric)
        found = find(results, metric=metric, model="golden", subset="all").value
        assert stats.weighted_mean(values["golden"], weight_N) == pytest.approx(found)
    assert row_values(rows, "win_rate")[0]["base"].tolist() == [0.5] * 8
    with pytest.raises(UserError, match="perplexity"):
        row_values(rows, "perplexity")
    with pytest.raises(UserError, match="add it"):
        row_values(paired(golden=[-1.0] * 8), "win_rate")


def test_results_are_seeded_carry_the_data_and_are_json() -> None:
    rng = np.random.default_rng(0)
    rows = paired(base=rng.normal(-2, 1, 8), golden=rng.normal(-2, 1, 8))
    comparisons = Comparisons(data={"holdout.parquet": "ab12"}, seed=3)
    results = likelihood_results(rows, comparisons)
    assert results == likelihood_results(rows, comparisons)
    assert all(r.data == {"holdout.parquet": "ab12"} for r in results)
    assert len({(r.key, r.subset) for r in results}) == len(results)
    json.dumps([asdict(r) for r in results], allow_nan=False)


def test_an_absurd_perplexity_is_unknown_not_infinite() -> None:
    results = likelihood_results(paired(base=[-5000.0] * 8), Comparisons())
    assert find(results, metric="perplexity", subset="all").value is None
