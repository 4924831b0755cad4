"""What a layer's attention does that its call does not say: how far back its tokens see, where the
model puts that into a mask alone, and queries that it scales by the place in the pack.

Legend: T packed tokens. Queries are (1, heads, T, head size).
"""

from collections.abc import Mapping
from typing import Any

import torch


def reach(module: torch.nn.Module, keywords: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """The layer's sliding window and its chunk size, in positions; None: there is none.

    The window is the `sliding_window` of the call where the model passes one, None included. Else
    it is in the mask that the model would make (Llama 4, Qwen2-MoE, PhiMoE), and the configuration
    says it as transformers' `create_masks_for_generate` reads it: by the layer's type, or for all
    layers where there are no types.
    """
    if "sliding_window" in keywords:
        return keywords["sliding_window"], None
    config: Any = getattr(module, "config", None)
    types = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None)
    chunk = getattr(config, "attention_chunk_size", None)
    if types is None:
        return window, None if window is not None else chunk
    kind = types[module.layer_idx] if hasattr(module, "layer_idx") else "full_attention"
    return (
        window if kind == "sliding_attention" else None,
        chunk if kind == "chunked_attention" else None,
    )


def at_positions(
    module: torch.nn.Module, query: torch.Tensor, position_T: torch.Tensor
) -> torch.Tensor:
    """The queries as scaled by their positions, where the layer scaled them by their places among
    the tokens of the forward (Llama 4's temperature: 1 + scale * log(1 + floor((n + 1) / floor))).
    """
    layer: Any = module
    if not getattr(layer, "attn_temperature_tuning", False) or layer.use_rope:
        return query

    def temperature(place_T: torch.Tensor) -> torch.Tensor:
        step_T = torch.floor((place_T.float() + 1.0) / layer.floor_scale)
        scaled_T: torch.Tensor = torch.log1p(step_T) * layer.attn_scale + 1.0
        return scaled_T

    place_T = torch.arange(query.shape[2], device=query.device)
    factor_T = temperature(position_T) / temperature(place_T)
    return (query * factor_T[:, None]).to(query.dtype)
