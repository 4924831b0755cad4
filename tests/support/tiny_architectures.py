"""A tiny configuration of every architecture that transformers knows as a causal language model."""

import dataclasses
from typing import Any

from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

ARCHITECTURES = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
VOCABULARY, WINDOW = 61, 8

SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "embedding_size"), 32),
    **dict.fromkeys(("input_embedding_size", "output_embedding_size", "emb_dim"), 32),
    "hidden_size_global": 32,
    **dict.fromkeys(("intermediate_size", "ffn_dim", "d_inner", "dff", "n_inner", "dim_ff"), 48),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "ffn_hidden_size"), 48),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers", "n_layers"), 2),
    **dict.fromkeys(("encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_encoder_layers", "num_decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "num_heads", "n_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads", "attention_heads"), 4),
    **dict.fromkeys(("num_encoder_attention_heads", "num_decoder_attention_heads"), 4),
    "num_key_value_heads": 2,
    **dict.fromkeys(("head_dim", "dim_head", "kv_channels"), 8),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 512),
    **dict.fromkeys(("max_target_positions", "context_length"), 512),
    **dict.fromkeys(("sliding_window", "attention_chunk_size", "attention_window_size"), WINDOW),
    **dict.fromkeys(("sliding_window_size", "window_size", "local_attention"), WINDOW),
    **dict.fromkeys(("num_experts", "n_routed_experts", "num_local_experts"), 4),
    "moe_num_experts": 4,
    **{"n_group": 2, "topk_group": 1},
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k"), 2),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 24),
    **dict.fromkeys(("expert_ffn_hidden_size", "moe_shared_expert_intermediate_size"), 24),
    **dict.fromkeys(("shared_intermediate_size", "intermediate_size_mlp"), 24),
    "dense_intermediate_size": 24,
    **dict.fromkeys(("kv_lora_rank", "q_lora_rank", "o_lora_rank"), 16),
    **dict.fromkeys(("qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"), 8),
    **dict.fromkeys(("bos_token_id",), 0),
    **dict.fromkeys(("eos_token_id", "pad_token_id"), 1),
}
"""By the names that configurations have for them; given where a configuration has the name."""


MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_chunk_size": WINDOW}
LINEAR = {
    **dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads"), 2),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 8),
}
LATENT = {"num_key_value_heads": 4}  # keys of latent attention are one a head
INDEXER = LATENT | {"index_n_heads": 2, "index_head_dim": 8, "index_topk": 6}
PER_LAYER = {"vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 8}
TEXT = {
    **dict.fromkeys(("hidden_size", "intermediate_size"), 32),
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2},
    "vocab_size": VOCABULARY,
}
VISION = {"image_size": 28, "patch_size": 14, "depth": 2, "num_heads": 4, "out_hidden_size": 32}
MORE: dict[str, dict[str, Any]] = {
    "axk1": LATENT,
    "axk2": INDEXER,
    "bamba": MAMBA | {"attn_layer_indices": [1]},
    "blt": {"encoder_hash_byte_group_vocab": 50},
    "cohere_compass_text": {
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
            for kind in ("full_attention", "sliding_attention")
        }
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0},
        "ffn_config": {"ffn_hidden_size": 48, "hidden_size": 32, "moe_top_k": 2},
    },
    "codegen": {"rotary_dim": 4},
    "deepseek_v2": LATENT,
    "deepseek_v3": LATENT,
    "deepseek_v32": INDEXER,
    "deepseek_v4": INDEXER,
    "dots1": {"n_shared_experts": 1},
    "falcon_h1": MAMBA | {"mamba_d_ssm": 64},
    "gemma3n_text": PER_LAYER | {"laurel_rank": 8, "num_kv_shared_layers": 0},
    "gemma4_text": PER_LAYER,
    "glm4_moe_lite": LATENT,
    "glm_moe_dsa": INDEXER,
    "got_ocr2": {"text_config": {"model_type": "qwen2", **TEXT}},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "gptj": {"rotary_dim": 4},
    "granitemoehybrid": MAMBA | {"layer_types": ["linear_attention", "full_attention"]},
    "hy_v4": INDEXER,
    "inkling_text": {
        **{"swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "swa_head_dim": 8},
        **{"d_rel": 4, "rel_extent": 16},
    },
    "kimi_linear": LATENT | {"linear_head_dim": 8, "linear_num_heads": 4},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "longcat_flash": LATENT | {"zero_expert_num": 2},
    "mamba2": {"num_heads": 4, "head_dim": 16, "state_size": 8, "n_groups": 1},
    "minicpm3": LATENT,
    "nemotron_h": {
        "layers_block_type": ["linear_attention", "moe", "full_attention", "mlp"],
        **{"ssm_state_size": 8, "mamba_num_heads": 4, "mamba_head_dim": 8, "n_groups": 1},
    },
    "qwen3_5_moe_text": LINEAR,
    "qwen3_5_text": LINEAR,
    "qwen3_next": LINEAR,
    "qwen4_exp_text": LINEAR
    | {"ngram_vocab_size_base": 50, "hc_lowrank": 8, "indexer_n_heads": 2, "indexer_kv_heads": 1}
    | {"indexer_head_dim": 8, "indexer_budget": 16, "indexer_compress_ratio": 4},
    "reformer": {"is_decoder": True, "axial_pos_shape": (16, 32), "axial_pos_embds_dim": (16, 16)},
    "roc_bert": {
        **{"pronunciation_embed_dim": 8, "pronunciation_vocab_size": VOCABULARY},
        **{"shape_embed_dim": 8, "shape_vocab_size": VOCABULARY},
    },
    "xmod": {"default_language": "en_XX"},
    "youtu": LATENT,
    "zamba": {"layers_block_type": ["linear_attention", "hybrid"] * 2, "mamba_d_state": 8},
    "zamba2": {"layers_block_type": ["linear_attention", "hybrid"], "mamba_d_state": 8},
    "zaya": {"num_experts_per_tok": 1, "router_hidden_size": 16},
}
"""What else an architecture needs, to be tiny or to be built at all."""


def tiny_config(architecture: str) -> PreTrainedConfig:
    """One layer of every type that the architecture has, at least two layers."""
    config_class = CONFIG_MAPPING[architecture]
    sizes = sizes_of(config_class) | MORE.get(architecture, {})
    names = {field.name for field in dataclasses.fields(config_class)}
    kinds = {"layer_types", "mlp_layer_types"} & names
    if kinds and not kinds & sizes.keys():
        deep = config_class(**sizes | {"num_hidden_layers": 12})
        distinct = {kind: list(dict.fromkeys(getattr(deep, kind) or ())) for kind in kinds}
        num = max(2, *map(len, distinct.values()))
        for kind, types in distinct.items():
            sizes[kind] = [types[min(n, len(types) - 1)] for n in range(num)] if types else None
        sizes["num_hidden_layers"] = num
    if "layers_block_type" in sizes:
        sizes["num_hidden_layers"] = len(sizes["layers_block_type"])
    return config_class(**sizes)


def sizes_of(config_class: type[PreTrainedConfig]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(config_class)}
    sizes = {name: size for name, size in SIZES.items() if name in names}
    for key, part in config_class.sub_configs.items():
        if dataclasses.is_dataclass(part) and key in names and "Config" in part.__name__:
            sizes[key] = (
                {} if part is AutoConfig else sizes_of(part) | MORE.get(part.model_type, {})
            )
    return sizes
