"""A replica of score.backend=transformers: the model in this process, with its checked engine."""

import os
from collections.abc import Sequence

import torch

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import load_model
from nuggets_ray.records import Encoding
from nuggets_ray.score.engine import Engine, make_engine
from nuggets_ray.score.memory import does_not_fit
from nuggets_ray.score.speed import UNASKED, Speed

ALLOCATOR_VARIABLES = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
"""Where users set the allocator; what they set holds."""


def load_replica(
    model: ModelConfig,
    dtype: str,
    device: str,
    anchors: Sequence[Encoding],
    *,
    engine: str = "auto",
    max_pack_tokens: int | None = None,
    gpu_share: float = 1.0,
    speed: Speed = UNASKED,
) -> Engine:
    """Load `model` in `dtype` (bfloat16 or float32) on `device` and make its engine for `anchors`;
    `gpu_share` is the share of the GPU that is this replica's.

    Raises UserError as `load_model` and `make_engine` do, and where the GPU is too small.
    """
    if device == "cuda":
        grow_segments()
    try:
        loaded = load_model(model, dtype, device)
        return make_engine(
            loaded,
            anchors,
            engine=engine,
            max_pack_tokens=max_pack_tokens,
            gpu_share=gpu_share,
            speed=speed,
        )
    except torch.OutOfMemoryError as error:
        raise UserError(does_not_fit(model, dtype)) from error


def grow_segments() -> None:
    """Let CUDA's allocator grow its segments: packs differ in size, and pieces of former ones would
    fill the memory. Not by the environment, which processes of vLLM's would inherit: sharing memory
    between GPUs, it cannot have this."""
    if not any(os.environ.get(name) for name in ALLOCATOR_VARIABLES):
        torch._C._accelerator_setAllocatorSettings("expandable_segments:True")
