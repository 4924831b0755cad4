"""Models of a given shape with random weights, made on the device: nothing is downloaded.

Speed does not depend on the weights.
"""

from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

SIZES: dict[str, dict[str, Any]] = {
    # Llama 2 7B
    "llama-7b-random": {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 4096,
    },
    # Llama 3.2 1B
    "llama-1b-random": {
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
    },
}

BARS = {"llama-7b-random": 0.78, "llama-1b-random": 0.62}
"""Of the dense rate that this GPU reaches in this run, of the tree."""


def make_random_model(name: str, dtype: str, device: str) -> PreTrainedModel:
    """The model `name` of SIZES, for inference."""
    torch.manual_seed(0)
    with torch.device(device):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            LlamaConfig(**SIZES[name]), dtype=getattr(torch, dtype)
        )
    model.eval().requires_grad_(False)
    return model
