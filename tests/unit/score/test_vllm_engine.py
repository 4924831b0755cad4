"""The vLLM backend on a stand-in with vLLM's prefix cache: which rows may be believed, and which
pairs are scored again. tests/integration/test_vllm.py has the real one.
"""

import numpy as np
import pytest
from fake_vllm import BLOCK, FakeVllm, expected_log_probs
from hypothesis import given
from hypothesis import strategies as st

from nuggets_ray.records import Encoding
from nuggets_ray.score import vllm_engine
from nuggets_ray.score.contract import DeviceLost
from nuggets_ray.score.vllm_engine import VllmEngine
from nuggets_ray.score.vllm_pairs import Pair, make_pairs, sampling_keywords

KINDS = {
    "every row, garbage where cached": {},
    "no row where cached": {"drops_rows": True},
    "the rows asked for": {"rows_only": True},
}


def make_engine(anchors, drops_rows=False, **keywords):
    fake = FakeVllm(drops_rows)
    return VllmEngine(fake, anchors, max_model_len=99, max_pack_tokens=1, **keywords), fake


def tokens(*ids):
    return np.array(ids, dtype=np.int64)


def anchor(token_ids, first_answer):
    token_ids = tokens(*token_ids)
    return Encoding(token_ids, np.arange(len(token_ids)) >= first_answer)


token_lists = st.lists(st.integers(0, 1), max_size=12)
anchors = st.lists(
    st.lists(st.tuples(st.integers(0, 1), st.booleans()), max_size=12).map(
        lambda rows: Encoding(tokens(*(t for t, _ in rows)), np.array([a for _, a in rows], bool))
    ),
    max_size=5,
)


@pytest.mark.parametrize("kind", KINDS)
@given(calls=st.lists(st.lists(token_lists, max_size=3), max_size=3), anchors=anchors)
def test_log_probs_are_right_whatever_the_cache_holds(kind, calls, anchors):
    # two tokens only, so that prefixes, anchors and calls have much in common
    engine, _ = make_engine(anchors, **KINDS[kind])
    for call in calls:
        prefixes = [tokens(*ids) for ids in call]
        found = engine.log_probs(prefixes)
        assert found.dtype == np.float32 and found.shape == (len(prefixes), len(anchors))
        np.testing.assert_allclose(found, expected_log_probs(anchors, prefixes), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first_answer", [1, 2, 3])
def test_a_block_that_ends_at_the_first_answer_token_is_too_long_a_hit(kind, first_answer):
    # prefix of 6, so that the second block ends behind the anchor's token 1
    prefix = tokens(1, 2, 3, 4, 5, 6)
    same = [7, 8]
    first = anchor([*same, 9, 9], 0)
    second = anchor([*same, 10, 11, 12], first_answer)
    engine, fake = make_engine([first, second], **KINDS[kind])
    found = engine.log_probs([prefix])
    np.testing.assert_allclose(found, expected_log_probs([first, second], [prefix]), atol=1e-5)
    assert fake.cached[:2] == [0, 2 * BLOCK]
    # rows 8, 9, ... were computed, and the answer's first row is 5 + first_answer
    assert engine.num_rescored == (5 + first_answer < 2 * BLOCK)
    assert engine.counts["num_pairs"] == 2


def test_an_anchor_whose_tokens_are_all_cached_is_scored_again():
    twin = anchor([1, 2, 3, 4, 5, 6], 2)
    engine, fake = make_engine([twin, twin, twin])
    found = engine.log_probs([tokens(7, 8, 9)])
    assert np.ptp(found) == 0 and found[0, 0] < 0
    assert engine.num_rescored == 2
    assert fake.calls == [3, 2] and fake.cached[3:] == [0, 0]


def test_the_same_candidate_again_meets_no_cache_of_an_earlier_call():
    engine, fake = make_engine([anchor([1, 2, 3], 1)])
    prefix = tokens(*range(10, 20))
    for _ in range(3):
        engine.log_probs([prefix, prefix])
    assert set(fake.cached) == {0} and engine.num_rescored == 0


def test_without_the_cache_nothing_reads_it_and_nothing_is_scored_again():
    twin = anchor([1, 2, 3, 4, 5, 6], 2)
    engine, fake = make_engine([twin, twin], reads_prefix_cache=False)
    engine.log_probs([tokens(7, 8, 9)])
    assert fake.cached == [0, 0] and fake.calls == [2]
    assert engine.counts == {"num_pairs": 2, "num_rescored": 0}


def test_the_prefix_is_computed_once(monkeypatch):
    several = [anchor([n, n + 1, n + 2], 1) for n in range(30, 36)]
    monkeypatch.setattr(vllm_engine, "PAIRS_A_CALL", 4)
    engine, fake = make_engine(several)
    engine.log_probs([tokens(*range(9)), tokens(*range(9, 18))])
    # calls may cut a candidate anywhere: what it left in the cache is still its own
    assert fake.calls == [4, 4, 4]
    assert fake.cached == [0, 8, 8, 8, 8, 8] * 2


def test_answers_in_chunks_and_what_has_nothing_to_score():
    chunks = Encoding(tokens(1, 2, 3, 4, 5, 6, 7), np.array([0, 1, 0, 0, 1, 0, 0], bool))
    without = Encoding(tokens(1, 2), np.zeros(2, bool))
    empty = Encoding(tokens(), np.zeros(0, bool))
    single = anchor([3], 0)
    prefixes = [tokens(), tokens(8, 9)]
    pairs = list(make_pairs(prefixes, [chunks, without, empty, single]))
    assert [(p.candidate, p.anchor) for p in pairs] == [(0, 0), (1, 0), (1, 3)]
    # cut behind the last answer token
    assert [p.token_ids.tolist() for p in pairs] == [
        [1, 2, 3, 4, 5],
        [8, 9, 1, 2, 3, 4, 5],
        [8, 9, 3],
    ]
    assert [p.positions_R.tolist() for p in pairs] == [[1, 4], [3, 6], [2]]
    engine, _ = make_engine([chunks, without, empty, single])
    found = engine.log_probs(prefixes)
    wanted = expected_log_probs(engine.anchors, prefixes)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert found[0, 3] == found[1, 1] == found[1, 2] == 0.0 and found[1, 3] < 0


def test_what_is_asked_of_vllm():
    pair = Pair(0, 0, tokens(5, 6, 7, 8, 9), positions_R=tokens(2, 4))
    every_row = sampling_keywords(pair, rows_only=False, reads=True)
    assert every_row["prompt_logprobs"] == 0 and every_row["max_tokens"] == 1
    assert every_row["skip_reading_prefix_cache"] is False
    rows = sampling_keywords(pair, rows_only=True, reads=False)
    assert "prompt_logprobs" not in rows and rows["skip_reading_prefix_cache"] is True
    # row t - 1 predicts token t: rows 1, 2, 3 for tokens 2, 3, 4
    assert rows["prompt_logprob_start"] == 1
    assert rows["prompt_logprob_token_ids"].tolist() == [[7], [8], [9]]


def test_a_failure_of_vllm_ends_the_replica():
    engine = VllmEngine(
        FakeVllm(error=RuntimeError("out of memory")), [anchor([1, 2], 1)],
        max_model_len=99, max_pack_tokens=1,
    )  # fmt: skip
    with pytest.raises(DeviceLost, match="out of memory"):
        engine.log_probs([tokens(1)])


def test_what_does_not_fit_is_not_sent():
    engine, fake = make_engine([anchor([1, 2, 3], 1)])
    engine.log_probs([tokens(*range(95))])
    with pytest.raises(ValueError, match="96 tokens, an anchor of 3 .*max_model_len=99"):
        engine.log_probs([tokens(*range(96))])
    assert len(fake.calls) == 1


def test_log_probs_of_other_tokens_are_refused():
    def generate(prompts, keywords):
        outputs = FakeVllm()(prompts, keywords)
        outputs[0].prompt_logprobs.token_ids[-1] += 1
        return outputs

    engine = VllmEngine(generate, [anchor([1, 2], 1)], max_model_len=99, max_pack_tokens=1)
    with pytest.raises(RuntimeError, match="other tokens"):
        engine.log_probs([tokens(1)])


def test_a_request_that_reads_nothing_and_has_no_rows_is_an_error():
    def generate(prompts, keywords):
        outputs = FakeVllm()(prompts, keywords)
        outputs[0].num_cached_tokens = None
        return outputs

    engine = VllmEngine(generate, [anchor([1, 2], 1)], max_model_len=99, max_pack_tokens=1)
    with pytest.raises(RuntimeError, match="no log-probs"):
        engine.log_probs([tokens(1)])
    assert engine.num_rescored == 1


def test_rows_tell_of_themselves_in_requests_of_their_own():
    anchors, shown = [anchor([1, 0, 1], 1)], [anchor([0, 1, 1, 0], 2), anchor([1, 1], 0)]
    engine, _ = make_engine(anchors)
    one_shot_CA, own = engine.log_probs_and_own(shown, with_states=False)
    prefixes = [one.token_ids for one in shown]
    np.testing.assert_allclose(one_shot_CA, expected_log_probs(anchors, prefixes), atol=1e-5)
    np.testing.assert_allclose(
        own.answer_logprob_D, expected_log_probs(shown, [tokens()])[0], atol=1e-5
    )
    np.testing.assert_allclose(engine.log_probs(prefixes), one_shot_CA, atol=1e-5)
    with pytest.raises(ValueError, match="no hidden states"):
        engine.own(shown, with_states=True)
