"""How many tokens go through the model at once, where nobody says.

On a GPU the largest of a few sizes whose peak memory by the formula (memory.py) leaves a fifth of
the card free: small packs leave part of it idle, and cut a row of long anchors.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from transformers import PreTrainedModel

from nuggets_ray.config.schema import PromptConfig
from nuggets_ray.records import Encoding
from nuggets_ray.score.memory import ITEM_BYTES, Request, Shape, peak_memory, shape_of

GPU_PACK_TOKENS = (65536, 49152, 32768, 24576, 16384)
LEAST_PACK_TOKENS = {"cpu": 4096, "cuda": GPU_PACK_TOKENS[-1]}
"""By default, by device."""
MAX_SHARE = 0.8
"""Of the card's memory; the rest is for what the formula does not know: the context, libraries'
workspaces, fragments."""


def default_pack_tokens(
    model: PreTrainedModel,
    anchors: Sequence[Encoding],
    gpu_share: float,
    gpu_attention: str = "merge",
) -> int:
    """The most tokens of one forward of `model`, on its device, of which this process may have
    `gpu_share`, with merge or gather."""
    if model.device.type != "cuda":
        return LEAST_PACK_TOKENS["cpu"]
    use = _use_of(model, anchors, 0, gpu_attention)
    if use is None:
        return GPU_PACK_TOKENS[-1]
    return fitting_pack_tokens(*use, room_bytes(model.device, gpu_share))


def has_room_for_gather(
    model: PreTrainedModel, anchors: Sequence[Encoding], max_pack_tokens: int, gpu_share: float
) -> bool:
    """Whether the copies of the demonstrations' keys fit beside the rest, in packs of this size and
    with the longest demonstration that is asked for by default; True where the formula has no
    number. Where longer ones do not fit, packs are halved."""
    use = _use_of(model, anchors, max_pack_tokens, "gather")
    return use is None or _fits(*use, room_bytes(model.device, gpu_share))


def _use_of(
    model: PreTrainedModel, anchors: Sequence[Encoding], max_pack_tokens: int, gpu_attention: str
) -> tuple[Shape, Request] | None:
    """None where the formula is not made for the model."""
    shape = shape_of(model.config, sum(parameter.numel() for parameter in model.parameters()))
    dtype = str(model.dtype).removeprefix("torch.")
    if shape is None or dtype not in ITEM_BYTES:
        return None
    lengths = [anchor.num_tokens for anchor in anchors]
    return shape, Request(
        dtype=dtype,
        device="cuda",
        max_pack_tokens=max_pack_tokens,
        demonstration_tokens=PromptConfig.max_demonstration_tokens,
        longest_anchor_tokens=max(lengths, default=0),
        num_anchor_tokens=sum(lengths),
        num_anchors=len(lengths),
        gpu_attention=gpu_attention,
    )


def fitting_pack_tokens(shape: Shape, request: Request, room_bytes: float) -> int:
    """The largest of GPU_PACK_TOKENS with which `request` stays within its share of `room_bytes`;
    the smallest where none does."""
    for tokens in GPU_PACK_TOKENS:
        if _fits(shape, replace(request, max_pack_tokens=tokens), room_bytes):
            return tokens
    return GPU_PACK_TOKENS[-1]


def _fits(shape: Shape, request: Request, room_bytes: float) -> bool:
    return peak_memory(shape, request).live_bytes <= MAX_SHARE * room_bytes


def room_bytes(device: torch.device, gpu_share: float) -> float:
    """What this process may have: its share of the card, and no more than is free beside it."""
    free, total = torch.cuda.mem_get_info(device)
    return min(total * min(1.0, gpu_share), free + torch.cuda.memory_reserved(device))
