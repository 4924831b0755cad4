"""A model that no engine can score with is refused with the reason, not with an engine's."""

import numpy as np
import pytest
import torch
from tiny_models import COMMON, make_model
from transformers import AutoModelForCausalLM, BertConfig

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


def test_a_masked_model_is_refused():
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(BertConfig(**COMMON, initializer_range=0.5)).eval()
    with pytest.raises(UserError, match=r"\(bert\) is no causal language model"):
        make_engine(model, ANCHORS)


def test_weights_that_are_not_finite_are_named():
    model = make_model("llama")
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = torch.nan
    with pytest.raises(UserError, match="not finite .*layers.1.mlp.up_proj.weight"):
        make_engine(model, ANCHORS)


def test_log_probs_that_are_not_finite_name_the_dtype(monkeypatch):
    model = make_model("llama").to(torch.bfloat16)
    model.model.norm.register_forward_hook(lambda module, given, out: out * torch.nan)
    with pytest.raises(UserError, match="bfloat16: set score.dtype=float32"):
        make_engine(model, ANCHORS)
