"""What is counted on shapes against what autograd keeps where there are numbers."""

import pytest
import torch
from tiny_models import make_model
from torch.autograd.graph import saved_tensors_hooks
from transformers import (
    AutoModelForCausalLM,
    GPTNeoXConfig,
    LlamaConfig,
    PretrainedConfig,
    Qwen3Config,
)

from nuggets_ray.finetune.activations import kept_bytes_a_token

SIZES = dict(vocab_size=61, hidden_size=64, num_hidden_layers=2, num_attention_heads=4)
GQA = dict(num_key_value_heads=2, intermediate_size=256)


def kept_in_truth(config: PretrainedConfig, dtype: torch.dtype) -> float:
    """Bytes a token that a model of numbers keeps, from two lengths: what is apart from length."""
    model = AutoModelForCausalLM.from_config(config, dtype=dtype).train()
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    totals = []
    for num_tokens in (64, 128):
        kept: dict[int, torch.Tensor] = {}

        def keep(tensor: torch.Tensor, kept: dict[int, torch.Tensor] = kept) -> torch.Tensor:
            place = tensor.untyped_storage().data_ptr()
            if place not in weights:
                kept[place] = tensor
            return tensor

        with saved_tensors_hooks(keep, lambda tensor: tensor):
            ids = torch.zeros((1, num_tokens), dtype=torch.long)
            output = model.base_model(input_ids=ids, use_cache=False)
        assert output.last_hidden_state.requires_grad
        totals.append(sum(tensor.untyped_storage().nbytes() for tensor in kept.values()))
    return (totals[1] - totals[0]) / 64


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize(
    "config",
    [LlamaConfig(**SIZES, **GQA), Qwen3Config(**SIZES, **GQA, head_dim=16), GPTNeoXConfig(**SIZES)],
    ids=lambda config: config.model_type,
)
def test_the_count_is_what_is_kept_or_a_little_more(config: PretrainedConfig, dtype: str) -> None:
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config)
    counted = kept_bytes_a_token(empty, dtype)
    assert counted is not None
    assert 0.98 < counted / kept_in_truth(config, getattr(torch, dtype)) < 1.3


def test_a_model_that_needs_numbers_is_not_counted() -> None:
    with torch.device("meta"):
        empty = make_model("llama")

    def forward(*arguments: object, **keywords: object) -> None:
        torch.zeros(1, device="meta").item()

    empty.base_model.forward = forward
    assert kept_bytes_a_token(empty, "float32") is None
