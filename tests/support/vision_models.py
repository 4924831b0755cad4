"""Tiny models with random weights that take pictures beside text."""

from pathlib import Path

import torch
from tiny_models import COMMON, HEADS, WINDOW, randomise
from transformers import (
    CONFIG_MAPPING,
    AutoModelForImageTextToText,
    Llama4ForConditionalGeneration,
    PreTrainedModel,
)

LAST = COMMON["vocab_size"]
ROTARY = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
THREE_AXES = {"rope_parameters": ROTARY}
"""Rotary positions in time, height and width, which are one for text."""
TOWER = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
QWEN_TOWER = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "depth": 1,
    "num_heads": 2,
    "out_hidden_size": 32,
    "patch_size": 14,
}
QWEN_IDS = {
    "image_token_id": LAST - 1,
    "video_token_id": LAST - 2,
    "vision_start_token_id": LAST - 3,
    "vision_end_token_id": LAST - 4,
}
LLAMA4_TEXT = {
    **COMMON,
    **HEADS,
    "intermediate_size_mlp": 48,
    "num_local_experts": 4,
    "interleave_moe_layer_step": 2,
    "no_rope_layers": [1, 0],
    "attention_chunk_size": WINDOW,
}
VISION: dict[str, dict[str, object]] = {
    "qwen2_5_vl": {
        "text_config": COMMON | THREE_AXES,
        "vision_config": QWEN_TOWER | {"fullatt_block_indexes": [0]},
        **QWEN_IDS,
    },
    "qwen3_vl": {
        "text_config": COMMON | HEADS | THREE_AXES,
        "vision_config": QWEN_TOWER
        | {"deepstack_visual_indexes": [0], "num_position_embeddings": 16},
        **QWEN_IDS,
    },
    "mistral3": {
        "text_config": {"model_type": "mistral", **COMMON, **HEADS, "sliding_window": WINDOW},
        "vision_config": {"model_type": "pixtral", **TOWER},
        "image_token_index": LAST - 1,
    },
    "llava": {
        "text_config": {"model_type": "llama", **COMMON},
        "vision_config": {"model_type": "clip_vision_model", **TOWER, "projection_dim": 16},
        "image_token_index": LAST - 1,
    },
    "llama4": {
        "text_config": LLAMA4_TEXT,
        "vision_config": TOWER
        | {"vision_output_dim": 16, "projector_input_dim": 16, "projector_output_dim": 16},
        "image_token_index": LAST - 1,
    },
    "paligemma": {
        "text_config": {"model_type": "gemma", **COMMON, **HEADS},
        "vision_config": {"model_type": "siglip_vision_model", **TOWER, "projection_dim": 32},
        "projection_dim": 32,
        "image_token_index": LAST - 1,
    },
}


def save_vision_model(kind: str, folder: Path) -> PreTrainedModel:
    """The whole model of a kind, saved into `folder` as its makers do; the same at every call."""
    config = CONFIG_MAPPING[kind](**VISION[kind])
    torch.manual_seed(0)
    whole = Llama4ForConditionalGeneration if kind == "llama4" else None
    model = whole(config) if whole else AutoModelForImageTextToText.from_config(config)
    model = randomise(model)
    model.save_pretrained(folder)
    return model
