"""A model that no engine can score with is refused with the reason, not with an engine's."""

import numpy as np
import pytest
import torch
from tiny_models import COMMON, HEADS, draw_weights, make_model
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    Gemma3TextConfig,
    LlamaConfig,
    MixtralConfig,
    PreTrainedConfig,
    RobertaConfig,
)

from nuggets_ray.errors import UserError
from nuggets_ray.records import Encoding
from nuggets_ray.score.engine import make_engine
from nuggets_ray.score.model_check import check_model

ANCHORS = [Encoding(np.arange(2, 12), np.arange(10) > 4)]


@pytest.mark.parametrize("family", ["llama", "mistral", "gpt_oss", "jamba", "bloom"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_causal_models_pass(family, dtype):
    model = make_model(family).to(dtype)
    check_model(model)
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with pytest.raises(UserError):
        check_model(model)


NOT_CAUSAL = {
    "bert": lambda: BertConfig(**COMMON),
    "roberta": lambda: RobertaConfig(**COMMON),
    "gemma3_text": lambda: Gemma3TextConfig(**COMMON, **HEADS, use_bidirectional_attention=True),
    "llama": lambda: LlamaConfig(**COMMON, is_causal=False),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", NOT_CAUSAL)
def test_a_model_that_sees_later_tokens_is_refused(family, dtype):
    config: PreTrainedConfig = NOT_CAUSAL[family]()
    model = draw_weights(AutoModelForCausalLM.from_config(config), 1).to(dtype)
    with pytest.raises(UserError, match=rf"\({family}\) is no causal language model"):
        make_engine(model, ANCHORS)


def with_router_noise(model, scale):
    """Logits that move with the number of rows, as rounding moves those of experts."""
    head = model.get_output_embeddings()

    def moved(module, given, out):
        generator = torch.Generator().manual_seed(out.shape[0])
        return out + scale * torch.randn(out.shape, generator=generator)

    head.register_forward_hook(moved)
    return model


def test_the_noise_is_what_company_moves_and_it_is_no_leak():
    assert check_model(make_model("llama")) == 0.0
    assert 0.1 < check_model(with_router_noise(make_model("llama"), 0.1)) < 1.0


def test_one_token_that_rounding_sends_to_another_expert_is_no_leak():
    model = make_model("llama")

    def flipped(module, given, out):
        out = out.clone()
        out[:, 3] = torch.randn(out.shape[-1], generator=torch.Generator().manual_seed(flips.pop()))
        return out

    flips = [3, 2, 1]
    model.get_output_embeddings().register_forward_hook(flipped)
    assert check_model(model) == 0.0 and not flips


def test_weights_that_are_not_finite_are_named():
    model = make_model("llama")
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = torch.nan
    with pytest.raises(UserError, match="not finite .*layers.1.mlp.up_proj.weight"):
        make_engine(model, ANCHORS)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_no_token_of_the_check_meets_is_looked_at_too(value):
    config = MixtralConfig(**COMMON, num_local_experts=64)
    model = draw_weights(AutoModelForCausalLM.from_config(config), 1)
    with torch.no_grad():
        model.get_parameter("model.layers.1.mlp.experts.down_proj")[63, 0, 0] = value
    with pytest.raises(UserError, match="not finite .*layers.1.mlp.experts.down_proj"):
        check_model(model)


def test_a_forward_that_needs_more_than_tokens_is_refused_with_its_words():
    model = make_model("llama")

    def forward(**keywords):
        raise ValueError("You have to give pixel_values")

    model.forward = forward
    with pytest.raises(UserError, match=r"\(llama\) cannot be run on tokens .*give pixel_values"):
        make_engine(model, ANCHORS)


def test_log_probs_that_are_not_finite_name_the_dtype(monkeypatch):
    model = make_model("llama").to(torch.bfloat16)
    model.model.norm.register_forward_hook(lambda module, given, out: out * torch.nan)
    with pytest.raises(UserError, match="bfloat16: set score.dtype=float32"):
        make_engine(model, ANCHORS)
