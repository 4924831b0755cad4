"""Rows of several models side by side: joined by id, cut into quartiles, refused where unlike."""

import math

import pytest

from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.likelihood.paired import RowLogProbs, pair_rows


def make_rows(logprobs, lengths) -> list[RowLogProbs]:
    """`logprobs` are nats per answer token."""
    return [
        RowLogProbs(f"r{i}", None, length, length * logprob)
        for i, (logprob, length) in enumerate(zip(logprobs, lengths, strict=True))
    ]


def test_rows_are_joined_by_id_not_by_place() -> None:
    base, golden = make_rows(range(-8, 0), range(1, 9)), make_rows(range(-8, 0), range(1, 9))
    rows = pair_rows({"base": base, "golden": golden[::-1]})
    assert (rows.sum_logprob["base"] == rows.sum_logprob["golden"]).all()


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(UserError, match="different tokenizers"):
        pair_rows({"base": make_rows([-1.0], lengths=[2]), "x": make_rows([-1.0], lengths=[3])})
    with pytest.raises(UserError, match="no held-out row"):
        pair_rows({"base": make_rows([math.nan], lengths=[2])})
    with pytest.raises(ValueError, match="twice"):
        pair_rows({"base": make_rows([-1.0], lengths=[2]) * 2})


@pytest.mark.parametrize(
    ("lengths", "strata"),
    [
        (range(1, 9), [0, 0, 1, 1, 2, 2, 3, 3]),
        ([8, 1, 7, 2], [3, 0, 2, 1]),
        ([7, 7, 7], [0, 0, 0]),
        ([7, 7, 7, 7, 9], [0, 0, 0, 0, 1]),
        ([3], [0]),
    ],
)
def test_quartiles_of_answer_length(lengths, strata) -> None:
    rows = pair_rows({"base": make_rows([-1.0] * len(lengths), lengths)})
    assert rows.stratum_N.tolist() == strata
