"""What it costs to go on in a slower way on a GPU, as warnings: nobody should find out from the
bill."""

import logging
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from nuggets_ray.records import Encoding
from nuggets_ray.score.batches import make_batches

logger = logging.getLogger(__name__)

USUAL_PREFIX_TOKENS = 200
FLOAT32_COST = 8
"""Half-precision products with tensor cores over those of float32, by the data sheets of T4 and
V100."""


def work_factor(
    name: str, anchors: Sequence[Encoding], max_pack_tokens: int, prefix: int = USUAL_PREFIX_TOKENS
) -> float:
    """How many times the tokens of the tree the engine `name` puts through the model, for a
    demonstration of `prefix` tokens."""
    lengths = [anchor.num_tokens for anchor in anchors]
    batches = make_batches(lengths, prefix, max_pack_tokens, same_length=False)
    padded = sum(len(batch) * max(lengths[anchor] for anchor in batch) for batch in batches)
    rows = sum(map(len, batches))
    tokens = {"kv_cache": prefix + padded, "plain": padded + rows * prefix}
    return tokens.get(name, prefix + sum(lengths)) / max(1, prefix + sum(lengths))


def slow_warnings(
    model: PreTrainedModel,
    name: str,
    anchors: Sequence[Encoding],
    max_pack_tokens: int,
    reasons: Sequence[str],
) -> list[str]:
    """What makes the engine `name` slower than was asked for, or than a GPU could be, where
    `reasons` spoke against what was tried before; logged, too."""
    warnings = list(reasons) if name == "tree" else []
    if model.device.type == "cuda":
        if name != "tree":
            warnings.append(engine_warning(name, anchors, max_pack_tokens, "; ".join(reasons)))
        warnings += filter(None, [dtype_warning(model)])
    for warning in warnings:
        logger.warning("%s", warning)
    return warnings


def engine_warning(name: str, anchors: Sequence[Encoding], max_pack_tokens: int, why: str) -> str:
    """One sentence for an engine that is not the tree."""
    factor = work_factor(name, anchors, max_pack_tokens)
    again = " and reads the demonstration's keys again for every anchor" * (name == "kv_cache")
    return (
        f"the slower engine {name} is used on a GPU: it puts {factor:.1f} times the tokens through "
        f"the model{again} ({why})"
    )


def dtype_warning(model: PreTrainedModel) -> str | None:
    """One sentence for a GPU that has no bfloat16."""
    if model.device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False):
        return None
    major, minor = torch.cuda.get_device_capability(model.device)
    return (
        f"{torch.cuda.get_device_name(model.device)} (compute capability {major}.{minor}) has no "
        f"bfloat16: in float32 products are about {FLOAT32_COST} times slower than such a GPU's "
        "half precision and weights take twice the memory; from compute capability 8.0 on neither "
        "is so"
    )
