"""What the check at start of vLLM sees: a wrong guard, wrong log-probs, and what is right."""

import functools

import numpy as np
import pytest
from fake_vllm import FakeVllm
from tiny_models import VOCABULARY, make_model

from nuggets_ray.errors import UserError
from nuggets_ray.score import vllm_engine
from nuggets_ray.score.reference import reference_log_probs
from nuggets_ray.score.vllm_check import check, check_inputs
from nuggets_ray.score.vllm_engine import VllmEngine


def on_fake(fake, anchors, prefixes, reads):
    engine = VllmEngine(
        fake, anchors, max_model_len=300, max_pack_tokens=1, reads_prefix_cache=reads
    )
    return engine.log_probs(prefixes)


def run(log_probs, dtype="float32", has_cache=True, reference=None):
    return check(log_probs, VOCABULARY, 300, dtype, has_cache, reference)


def test_the_cache_is_read_where_the_guard_is_right():
    fake = FakeVllm()
    reads, why = run(functools.partial(on_fake, fake))
    assert reads and "12 random pairs" in why and "changes nothing" in why
    # the check met hits within the prefix and hits past it, which were scored again
    assert max(fake.cached) > 70 and len(fake.calls) == 3


def test_a_wrong_guard_turns_the_cache_off(monkeypatch):
    def believes_all(output, pair):
        rows = output.prompt_logprobs.logprobs
        return np.array(rows)[pair.positions_R - len(pair.token_ids)]

    monkeypatch.setattr(vllm_engine, "answer_log_probs", believes_all)
    reads, why = run(functools.partial(on_fake, FakeVllm()))
    assert not reads and "not read: that changes up to" in why


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_nan_turns_the_cache_off_too(dtype):
    def log_probs(anchors, prefixes, reads):
        found = np.zeros((len(prefixes), len(anchors)))
        found[1, 2] = np.nan if reads else 0.0
        return found

    assert run(log_probs, dtype)[0] is False


def test_without_a_cache_nothing_is_compared():
    reads, why = run(functools.partial(on_fake, FakeVllm()), has_cache=False)
    assert not reads and "is off" in why


def test_log_probs_that_are_not_finite_are_refused():
    def log_probs(anchors, prefixes, reads):
        return np.full((len(prefixes), len(anchors)), -np.inf)

    with pytest.raises(UserError, match="not finite: try score.dtype=float32"):
        run(log_probs)


@pytest.mark.parametrize(("error", "passes"), [(5e-4, True), (5e-3, False), (np.nan, False)])
def test_against_the_model_s_own_forward(error, passes):
    model = make_model("llama")

    def log_probs(anchors, prefixes, reads):
        found = reference_log_probs(model, anchors, prefixes)
        found[0, 1] += 0 if np.isnan(error) else error
        return found if not np.isnan(error) else found[:, ::-1]

    if passes:
        reads, why = run(log_probs, reference=model)
        assert reads and "0.0005 nats per answer token of the reference" in why
    else:
        with pytest.raises(UserError, match="differs by .* from the model's own forward"):
            run(log_probs, reference=model)


@pytest.mark.parametrize("max_model_len", [300, 60, 12])
def test_the_pairs_of_the_check_fit(max_model_len):
    anchors, prefixes = check_inputs(VOCABULARY, max_model_len)
    assert len(anchors) == 4 and len(prefixes) == 3
    longest = max(map(len, prefixes)) + max(anchor.num_tokens for anchor in anchors)
    assert longest < max_model_len
    assert all(a.num_answer_tokens for a in anchors)
    assert all(len(a.answer_mask) == len(a.token_ids) for a in anchors)
    np.testing.assert_array_equal(anchors[2].token_ids, anchors[3].token_ids)
