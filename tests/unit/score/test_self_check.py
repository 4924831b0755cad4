"""The check at start: what it asks of an engine, and that it finds an engine that is wrong."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import COMMON, HEADS, WINDOW, draw_weights, make_model
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3MoeConfig,
    RecurrentGemmaConfig,
)

from nuggets_ray.score.engine import ENGINES
from nuggets_ray.score.model_check import check_model
from nuggets_ray.score.pack import make_packs
from nuggets_ray.score.plain import plain_log_probs
from nuggets_ray.score.self_check import (
    CHECK_ANCHOR_TOKENS,
    CHECK_PACK_TOKENS,
    ISOLATION_ANCHOR_TOKENS,
    ComputeLogProbs,
    SelfCheck,
    check_anchors,
    check_prefixes,
)
from nuggets_ray.score.tree import tree_log_probs


def self_check(model: PreTrainedModel) -> SelfCheck:
    return SelfCheck.of(model, check_model(model))


def reason_against(name: str, log_probs: ComputeLogProbs, model: PreTrainedModel) -> str | None:
    return self_check(model).reason_against(name, log_probs)


def off_by(errors):
    """The plain engine, wrong by `errors` where it is asked for the self-check's agreement."""

    def log_probs(model, anchors, prefixes, max_pack_tokens):
        found = plain_log_probs(model, anchors, prefixes, max_pack_tokens).numpy()
        return found + np.asarray(errors, np.float32) if len(anchors) == 3 else found

    return log_probs


def test_a_right_engine_passes():
    assert reason_against("tree", tree_log_probs, make_model("llama")) is None


@pytest.mark.parametrize("error", [3e-4, -3e-4, np.nan])
def test_one_wrong_number_is_found_and_told(error):
    errors = np.zeros((4, 3))
    errors[2, 1] = error
    reason = reason_against("tree", off_by(errors), make_model("llama"))
    assert reason is not None and ("0.0003" in reason or "nan" in reason)


def test_in_bfloat16_rounding_passes_and_an_error_does_not():
    model = make_model("llama").to(torch.bfloat16)
    assert reason_against("tree", off_by([0, 0, 0.05]), model) is None
    assert reason_against("tree", off_by([0, 0, 0.3]), model) is not None


def test_an_engine_that_raises_is_refused_with_its_words():
    def broken(model, anchors, prefixes, max_pack_tokens):
        raise AttributeError("no such layer")

    reason = reason_against("kv_cache", broken, make_model("llama"))
    assert reason == "kv_cache failed with AttributeError: no such layer"


def test_what_the_machine_lacks_is_no_fault_of_the_engine():
    def short_of_memory(model, anchors, prefixes, max_pack_tokens):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        reason_against("tree", short_of_memory, make_model("llama"))


def leaking(error):
    """The plain engine, where every answer is moved by the tokens of the anchor before its own."""

    def log_probs(model, anchors, prefixes, max_pack_tokens):
        found = plain_log_probs(model, anchors, prefixes, max_pack_tokens).numpy()
        if len(anchors) == len(ISOLATION_ANCHOR_TOKENS):
            before = np.array([anchor.token_ids.sum() for anchor in anchors])
            found = found + error * np.sin(np.roll(before, 1))
        return found

    return log_probs


@pytest.mark.parametrize("dtype, error", [(torch.float32, 1e-3), (torch.bfloat16, 0.1)])
def test_anchors_that_see_each_other_are_found(dtype, error):
    check = self_check(make_model("llama").to(dtype))
    assert check.reason_against("tree", leaking(0.0)) is None
    reason = check.reason_against("tree", leaking(error))
    assert reason is not None and reason.startswith("tree lets anchors see each other")


def recurrent(seed: int) -> PreTrainedModel:
    """A model whose state runs on from anchor to anchor in a pack, which no key of its
    configuration tells."""
    config = RecurrentGemmaConfig(
        **COMMON | {"num_hidden_layers": 3}, lru_width=32, attention_window_size=WINDOW
    )
    torch.manual_seed(0)
    return draw_weights(AutoModelForCausalLM.from_config(config), seed, biases=0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("seed", range(3))
def test_a_recurrent_model_is_no_tree_in_any_dtype(seed, dtype):
    check = self_check(recurrent(seed).to(dtype))
    assert check.reason_against("plain", plain_log_probs) is None
    assert check.reason_against("tree", tree_log_probs) is not None
    # rounding may hide it from agreement, never from isolation
    with torch.inference_mode():
        same_CA = tree_log_probs(check.model, check.anchors, check.prefixes, CHECK_PACK_TOKENS)
    hidden = replace(check, reference_CA=same_CA.numpy())
    assert "see each other" in (hidden.reason_against("tree", tree_log_probs) or "")


EXPERTS = {
    "mixtral": lambda: MixtralConfig(**COMMON, num_local_experts=4),
    "qwen3_moe": lambda: Qwen3MoeConfig(
        **COMMON, **HEADS, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24
    ),
}


@pytest.mark.parametrize("family", EXPERTS)
def test_mixtures_of_experts_pass_in_bfloat16(family):
    config: PreTrainedConfig = EXPERTS[family]()
    model = draw_weights(AutoModelForCausalLM.from_config(config), 1).to(torch.bfloat16)
    check = self_check(model)
    assert [check.reason_against(name, ENGINES[name]) for name in ENGINES] == [None] * 3


def test_a_short_context_is_enough():
    model = make_model("gpt2", n_positions=60)
    check = self_check(model)
    assert [check.reason_against(name, ENGINES[name]) for name in ENGINES] == [None] * 3


def verdict(model: PreTrainedModel) -> str:
    return self_check(model).verdict("tree")


def test_it_says_that_it_is_blind_where_the_demonstration_changes_nothing(caplog):
    config = LlamaConfig(**COMMON, initializer_range=1e-3)
    untrained = AutoModelForCausalLM.from_config(config).eval()
    with caplog.at_level(logging.WARNING):
        assert "tree agrees with the reference; the check is blind" in verdict(untrained)
        assert "the check is blind" in caplog.text
    assert verdict(make_model("llama")) == "tree agrees with the reference"
    assert verdict(make_model("llama").to(torch.bfloat16)) == "tree agrees with the reference"


def test_the_check_shares_packs_and_splits_a_candidate():
    config = make_model("llama").config
    lengths = [len(prefix) for prefix in check_prefixes(config)]
    packs = make_packs(lengths, list(CHECK_ANCHOR_TOKENS), CHECK_PACK_TOKENS)
    assert {segment.candidate for segment in packs[0].segments} == {0, 1}
    assert any(pack.kept_tokens == lengths[3] for pack in packs)


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
    assert len(prefixes[0]) == 0 and len(prefixes[3]) == expected
    assert max(map(len, prefixes)) + max(CHECK_ANCHOR_TOKENS) <= context


@pytest.mark.parametrize(
    "key", ["sliding_window", "attention_window_size", "attention_chunk_size", "chunk_size"]
)
def test_windows_and_chunks_are_found_under_the_names_that_configurations_have(key):
    config = PreTrainedConfig(vocab_size=9, max_position_embeddings=512, **{key: 256})
    assert len(check_prefixes(config)[3]) == 256 + max(CHECK_ANCHOR_TOKENS)
    config = PreTrainedConfig(vocab_size=9, chunk_size_feed_forward=256, use_sliding_window=True)
    assert len(check_prefixes(config)[3]) == 110


def test_of_several_windows_the_longest_that_fits_is_passed():
    windows = {"sliding_window": 200, "attention_chunk_size": 300, "mamba_chunk_size": 9000}
    config = PreTrainedConfig(vocab_size=9, max_position_embeddings=512, **windows)
    assert len(check_prefixes(config)[3]) == 345
