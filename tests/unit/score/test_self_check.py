"""The check at start: what it asks of an engine, and that it finds an engine that is wrong."""

import numpy as np
import pytest
import torch
from tiny_models import COMMON, WINDOW, make_model
from transformers import LlamaConfig, MistralConfig

from nuggets_ray.score.pack import make_packs
from nuggets_ray.score.reference import reference_log_probs
from nuggets_ray.score.self_check import (
    CHECK_ANCHOR_TOKENS,
    CHECK_PACK_TOKENS,
    check_anchors,
    check_prefixes,
    reason_against,
)
from nuggets_ray.score.tree import tree_log_probs


def test_a_right_engine_passes():
    assert reason_against("tree", tree_log_probs, make_model("llama")) is None


@pytest.mark.parametrize("error", [3e-4, -3e-4, np.nan])
def test_one_wrong_number_is_found_and_told(error):
    def slightly_wrong(model, anchors, prefixes, max_pack_tokens):
        found = reference_log_probs(model, anchors, prefixes)
        found[2, 1] += error
        return found

    reason = reason_against("tree", slightly_wrong, make_model("llama"))
    assert reason is not None and ("0.0003" in reason or "nan" in reason)


def test_in_bfloat16_rounding_passes_and_an_error_does_not():
    model = make_model("llama").to(torch.bfloat16)

    def rounded(error):
        def log_probs(model, anchors, prefixes, max_pack_tokens):
            found = reference_log_probs(model, anchors, prefixes)
            return found + np.array([0, 0, error], dtype=np.float32)

        return log_probs

    assert reason_against("tree", rounded(0.05), model) is None
    assert reason_against("tree", rounded(0.3), model) is not None


def test_an_engine_that_raises_is_refused_with_its_words():
    def broken(model, anchors, prefixes, max_pack_tokens):
        raise AttributeError("no such layer")

    reason = reason_against("kv_cache", broken, make_model("llama"))
    assert reason == "kv_cache failed with AttributeError: no such layer"


def test_the_check_shares_packs_and_splits_a_candidate():
    config = make_model("llama").config
    lengths = [len(prefix) for prefix in check_prefixes(config)]
    packs = make_packs(lengths, list(CHECK_ANCHOR_TOKENS), CHECK_PACK_TOKENS)
    assert {segment.candidate for segment in packs[0].segments} == {0, 1}
    assert any(pack.kept_tokens == lengths[2] for pack in packs)


def test_the_check_asks_for_a_one_token_answer():
    assert min(anchor.num_answer_tokens for anchor in check_anchors(LlamaConfig())) == 1


@pytest.mark.parametrize(
    "window, context, expected",
    [(WINDOW, 512, 110), (300, 512, 345), (300, 320, 110), (None, 100, 55), (262144, 131072, 110)],
)
def test_one_demonstration_is_longer_than_the_window_where_the_context_allows(
    window, context, expected
):
    sizes = COMMON | {"max_position_embeddings": context}
    config = MistralConfig(**sizes, sliding_window=window)
    prefixes = check_prefixes(config)
    assert len(prefixes[2]) == expected
    assert max(map(len, prefixes)) + max(CHECK_ANCHOR_TOKENS) <= context
