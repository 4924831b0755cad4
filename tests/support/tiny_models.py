"""Tiny models with random weights, of the families whose attention differs, and anchors for them.

Weights are drawn large enough that log-probs spread over several nats: with the library's initial
weights every token is equally likely, and a wrong mask would go unseen.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    GptOssConfig,
    JambaConfig,
    Llama4TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    OPTConfig,
    PhimoeConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2MoeConfig,
    Qwen3Config,
)

from nuggets_ray.model.load import keep_soft_cap
from nuggets_ray.records import Encoding

VOCABULARY = 61
WINDOW = 8
"""Shorter than the demonstrations of the tests, so that the sliding window matters."""

COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
GPT2_SIZES = {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 512}
HEADS = {"head_dim": 8}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48}
LLAMA4_SIZES = {
    "intermediate_size_mlp": 48,
    "num_local_experts": 4,
    "interleave_moe_layer_step": 2,
    "no_rope_layers": [1, 0],
}
JAMBA_SIZES = {
    "num_experts": 2,
    "num_experts_per_tok": 1,
    "attn_layer_period": 2,
    "attn_layer_offset": 1,
    "expert_layer_period": 2,
    "mamba_d_state": 4,
    "mamba_dt_rank": 4,
}

CONFIGS: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama": lambda: LlamaConfig(**COMMON),
    "qwen3": lambda: Qwen3Config(**COMMON, **HEADS),
    "gemma2": lambda: Gemma2Config(
        **COMMON,
        **HEADS,
        sliding_window=WINDOW,
        query_pre_attn_scalar=8,
        attn_logit_softcapping=4.0,
        final_logit_softcapping=9.0,
    ),
    "mistral": lambda: MistralConfig(**COMMON, sliding_window=WINDOW),
    "gpt2": lambda: GPT2Config(vocab_size=VOCABULARY, **GPT2_SIZES, bos_token_id=0, eos_token_id=1),
    "gpt_neox": lambda: GPTNeoXConfig(**COMMON),
    "gpt_oss": lambda: GptOssConfig(
        **COMMON, **HEADS, sliding_window=WINDOW, num_local_experts=4, num_experts_per_tok=2
    ),
    "llama4": lambda: Llama4TextConfig(
        **COMMON,
        **HEADS,
        **LLAMA4_SIZES,
        attention_chunk_size=WINDOW,
        floor_scale=5,
        attn_scale=2.0,
    ),
    "opt": lambda: OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        ffn_dim=48,
        word_embed_proj_dim=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
    ),
    "phimoe": lambda: PhimoeConfig(
        **COMMON, num_local_experts=4, num_experts_per_tok=2, sliding_window=WINDOW
    ),
    "qwen2_moe": lambda: Qwen2MoeConfig(
        **COMMON, **EXPERTS, sliding_window=WINDOW, use_sliding_window=True, max_window_layers=1
    ),
    "bloom": lambda: BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4),
    "jamba": lambda: JambaConfig(**COMMON, **JAMBA_SIZES),
}


def make_model(family: str, **changes: object) -> PreTrainedModel:
    """A float32 model of the family on the CPU, in eval mode; the same weights at every call."""
    config = CONFIGS[family]()
    for key, value in changes.items():
        setattr(config, key, value)
    torch.manual_seed(0)
    model = randomise(AutoModelForCausalLM.from_config(config))
    keep_soft_cap(model)
    return model


def randomise(model: PreTrainedModel) -> PreTrainedModel:
    """The model with weights of a scale at which log-probs spread, for inference."""
    draw_weights(model, 1)
    # A projection of its own scale: untied from the embedding, which some families scale up.
    head = model.get_output_embeddings()
    generator = torch.Generator().manual_seed(2)
    head.weight = torch.nn.Parameter(torch.randn(head.weight.shape, generator=generator))
    return model.requires_grad_(False)


@torch.no_grad()
def draw_weights(model: PreTrainedModel, seed: int, biases: float = 1.0) -> PreTrainedModel:
    """The model in eval mode with weights of its own scale, biases and sinks too."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if weight.ndim >= 2:
            scale = 1.5 / weight.shape[-1] ** 0.5
            weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
        elif "sinks" in name or name.endswith("bias"):
            weight.copy_(torch.randn(weight.shape, generator=generator) * biases)
    return model.eval()


def random_ids(seed: int, num_tokens: int) -> np.ndarray:
    """Token ids of shape (num_tokens,) int64."""
    return np.random.default_rng(seed).integers(0, VOCABULARY, num_tokens)


def make_anchor(seed: int, num_prompt_tokens: int, num_answer_tokens: int) -> Encoding:
    """An anchor of random tokens: a prompt, then its answer."""
    num_tokens = num_prompt_tokens + num_answer_tokens
    return Encoding(random_ids(seed, num_tokens), np.arange(num_tokens) >= num_prompt_tokens)


def write_tiny_llama(folder: Path) -> Path:
    """A seeded two-layer Llama and a byte-level tokenizer, as save_pretrained writes them."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<s>", "</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
