"""Requests to vLLM, and which rows of an answer may be believed."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nuggets_ray.records import Encoding
from nuggets_ray.score.vllm_pairs import Pair, answer_log_probs, make_pairs, sampling_keywords

ANCHOR = Encoding(np.array([10, 11, 12, 13]), np.array([False, True, True, False]))
FIRST_IS_ANSWER = Encoding(np.array([20, 21]), np.array([True, False]))
PREFIX = np.array([1, 2, 3])
[PAIR] = make_pairs([PREFIX], [ANCHOR])


def test_a_pair_ends_with_its_last_answer_token() -> None:
    assert PAIR.token_ids.tolist() == [1, 2, 3, 10, 11, 12]
    assert PAIR.positions_R.tolist() == [4, 5] and PAIR.first_row == 3


def test_what_has_nothing_to_score_is_no_request() -> None:
    silent = Encoding(np.array([30]), np.array([False]))
    pairs = make_pairs([PREFIX, PREFIX[:0]], [silent, FIRST_IS_ANSWER, ANCHOR])
    places = [(pair.candidate, pair.anchor) for pair in pairs]
    assert places == [(0, 1), (0, 2), (1, 2)], "without a prefix nothing predicts a first token"


@pytest.mark.parametrize("reads", [True, False])
def test_what_vllm_is_asked_for(reads: bool) -> None:
    whole = sampling_keywords(PAIR, rows_only=False, reads=reads)
    assert whole["prompt_logprobs"] == 0 and whole["flat_logprobs"] is True
    assert whole["skip_reading_prefix_cache"] is not reads and whole["max_tokens"] == 1
    rows = sampling_keywords(PAIR, rows_only=True, reads=reads)
    assert rows["prompt_logprob_token_ids"].tolist() == [[11], [12]]
    assert rows["prompt_logprob_start"] == 3 and "prompt_logprobs" not in rows


def output(num_cached: int | None, **more: Any) -> Any:
    values = {"prompt_token_id_logprobs": None, "prompt_logprobs": None, **more}
    return SimpleNamespace(num_cached_tokens=num_cached, **values)


def flat(token_ids: list[int], logprobs: list[float]) -> Any:
    return SimpleNamespace(token_ids=token_ids, logprobs=logprobs)


ROWS = np.array([[-0.5], [-0.25]])
FLAT = flat([2, 3, 10, 11, 12], [-9.0, -8.0, -7.0, -0.5, -0.25])


@pytest.mark.parametrize("num_cached", [0, 1, 3])
def test_rows_are_counted_from_the_end(num_cached: int) -> None:
    left = flat(FLAT.token_ids[num_cached:], FLAT.logprobs[num_cached:])
    for answer in (
        output(num_cached, prompt_token_id_logprobs=ROWS),
        output(num_cached, prompt_logprobs=left),
    ):
        log_probs = answer_log_probs(answer, PAIR)
        assert log_probs is not None and log_probs.tolist() == [-0.5, -0.25]


@pytest.mark.parametrize("num_cached", [None, 4, 6])
def test_rows_that_were_never_computed_are_not_believed(num_cached: int | None) -> None:
    assert answer_log_probs(output(num_cached, prompt_token_id_logprobs=ROWS), PAIR) is None
    assert answer_log_probs(output(num_cached, prompt_logprobs=FLAT), PAIR) is None


def test_an_answer_without_log_probs_or_of_other_tokens() -> None:
    assert answer_log_probs(output(0), PAIR) is None
    other = flat([2, 3, 10, 11, 99], FLAT.logprobs)
    with pytest.raises(RuntimeError, match="other tokens than those asked for"):
        answer_log_probs(output(0, prompt_logprobs=other), PAIR)
    assert isinstance(PAIR, Pair)
