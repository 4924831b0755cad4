"""What SGLang is asked and how its answers are read, by a stand-in for its engine."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_vllm import expected_log_probs, token_log_prob
from tiny_models import make_anchor, random_ids

from nuggets_ray.bench.sglang import SglangPeer, load_sglang
from nuggets_ray.bench.task import NotMeasured, Task

ANCHORS = [make_anchor(seed, *sizes) for seed, sizes in enumerate([(5, 1), (0, 6), (4, 9)])]
PREFIXES = [random_ids(1, 20), random_ids(2, 7)]


class FakeEngine:
    """Answers as SGLang does: from logprob_start_len on, the first left open."""

    def __init__(self, shift: int = 0) -> None:
        self._shift = shift

    def generate(self, **given: Any) -> list[dict[str, Any]]:
        assert given["return_logprob"] and given["sampling_params"]["max_new_tokens"] == 0
        starts = given["logprob_start_len"]
        return [self._one(*pair) for pair in zip(given["input_ids"], starts, strict=True)]

    def _one(self, ids: list[int], start: int) -> dict[str, Any]:
        rows: list[tuple[float | None, int, None]] = [
            (token_log_prob(ids, position), ids[position - self._shift], None)
            for position in range(start, len(ids))
        ]
        rows[0] = (None, rows[0][1], None)
        return {"meta_info": {"input_token_logprobs": rows, "cached_tokens": 3}}


def test_log_probs_are_those_of_the_answers() -> None:
    peer = SglangPeer(FakeEngine())
    expected_CA = expected_log_probs(ANCHORS, PREFIXES)
    np.testing.assert_allclose(peer.log_probs(PREFIXES, ANCHORS), expected_CA, rtol=1e-6)
    assert peer.counts == {"num_cached_tokens": 3 * len(ANCHORS) * len(PREFIXES)}


def test_log_probs_of_other_tokens_are_refused() -> None:
    with pytest.raises(RuntimeError, match="other tokens"):
        SglangPeer(FakeEngine(shift=1)).log_probs(PREFIXES, ANCHORS)


def test_where_it_cannot_run_it_says_so() -> None:
    task = Task("sglang", "bfloat16", "", None, False, "cpu", 1, None, ())
    with pytest.raises(NotMeasured, match="needs a GPU"):
        load_sglang(task)
    with pytest.raises(NotMeasured, match="pip install sglang"):
        load_sglang(replace(task, device="cuda"))
