"""IFD, worked by hand."""

import numpy as np
import pytest

from nuggets_ray.records import Encoding
from nuggets_ray.signals.ifd import (
    answer_spans,
    answers_alone,
    ifd,
    ifd_perplexity,
    joined,
    misfits,
)

UNASKED = np.array([7, 8])


def encoding(ids: list[int], answer: str) -> Encoding:
    """`answer` marks the answer's tokens by x."""
    return Encoding(np.array(ids), np.array([mark == "x" for mark in answer]))


def test_a_ratio_of_mean_losses_and_of_perplexities() -> None:
    # losses 1 and 3 after the instruction, 2 and 6 alone: means 2 and 4
    assert ifd(np.array(-2.0), np.array(-4.0)) == pytest.approx(0.5)
    assert ifd_perplexity(np.array(-2.0), np.array(-4.0)) == pytest.approx(np.exp(2) / np.exp(4))


def test_ratios_above_one_are_marked_in_both_kinds_alike() -> None:
    answer, alone = np.array([-1.0, -2.0, -3.0]), np.array([-2.0, -2.0, -2.0])
    assert misfits(ifd(answer, alone)).tolist() == [False, False, True]
    assert misfits(ifd_perplexity(answer, alone)).tolist() == [False, False, True]


def test_an_answer_that_costs_nothing_alone_has_no_ratio() -> None:
    assert np.isnan(ifd(np.array([-1.0, 0.0]), np.array([0.0, 0.0]))).all()
    assert np.isnan(ifd(np.array(np.nan), np.array(-1.0)))
    assert np.isnan(ifd_perplexity(np.array(-1e6), np.array(-1.0)))


def test_alone_the_answer_has_the_same_tokens_behind_a_prompt_that_asks_nothing() -> None:
    [alone] = answers_alone(encoding([1, 2, 3, 4, 5, 6], "...xx."), UNASKED)
    assert alone.token_ids.tolist() == [7, 8, 4, 5]
    assert alone.answer_mask.tolist() == [False, False, True, True]
    assert alone.num_answer_tokens == 2, "what is behind the answer is no part of it"


def test_each_answer_of_a_conversation_is_alone_and_counts_by_its_tokens() -> None:
    demonstration = encoding([1, 2, 3, 4, 5, 6], ".x..xx")
    first, second = answers_alone(demonstration, UNASKED)
    assert (first.token_ids.tolist(), second.token_ids.tolist()) == ([7, 8, 2], [7, 8, 5, 6])
    # -1 on one token, -4 on two: (1 + 8) / 3
    assert joined([-1.0, -4.0], [1, 2]) == pytest.approx(-3.0)
    assert np.isnan(joined([], []))


@pytest.mark.parametrize(
    ("mask", "spans"),
    [
        ("...xx", [(3, 5)]),
        ("xx..", [(1, 2)]),
        ("x...", []),
        ("....", []),
        (".x.x", [(1, 2), (3, 4)]),
    ],
)
def test_a_first_token_of_all_has_no_prediction_on_either_side(
    mask: str, spans: list[tuple[int, int]]
) -> None:
    assert answer_spans(np.array([mark == "x" for mark in mask])) == spans
