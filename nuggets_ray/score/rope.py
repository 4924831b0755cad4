"""Rotary embeddings whose frequencies depend on the longest position in the forward (dynamic NTK,
longrope).

Up to the original context they are constant; past it, anchors of different lengths must not share a
forward, and a demonstration must not be computed apart from its anchor.
"""

from collections.abc import Iterator
from typing import Any, cast

import torch
from transformers import PreTrainedModel

LENGTH_DEPENDENT_TYPES = ("dynamic", "longrope")


def max_shared_tokens(model_config: Any) -> int | None:
    """The longest demonstration plus anchor for which anchors may share a forward; None: there is
    no such limit."""
    config = model_config.get_text_config()
    limits = []
    for parameters in _rope_parameters(config):
        if any(name in parameters["rope_type"] for name in LENGTH_DEPENDENT_TYPES):
            original = parameters.get("original_max_position_embeddings")
            limits.append(int(original or config.max_position_embeddings))
    return min(limits, default=None)


def forget_longer_sequences(model: PreTrainedModel) -> None:
    """Undo what dynamic rotary embeddings remember of longer sequences, so that results repeat."""
    if max_shared_tokens(model.config) is None:
        return
    for module in model.modules():
        if hasattr(module, "original_inv_freq") and hasattr(module, "max_seq_len_cached"):
            original = cast(torch.Tensor, module.original_inv_freq)
            module.register_buffer("inv_freq", original.to(model.device), persistent=False)
            module.max_seq_len_cached = module.original_max_seq_len


def _rope_parameters(config: Any) -> Iterator[dict[str, Any]]:
    """The rotary parameters of the model, or of each layer type where those differ."""
    parameters = getattr(config, "rope_parameters", None) or {}
    for candidate in (parameters, *parameters.values()):
        if isinstance(candidate, dict) and "rope_type" in candidate:
            yield candidate
