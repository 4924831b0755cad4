"""A replica of score.backend=transformers: the model in this process, with its checked engine."""

from collections.abc import Sequence

import torch

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import load_model
from nuggets_ray.records import Encoding
from nuggets_ray.score.engine import Engine, make_engine
from nuggets_ray.score.memory import does_not_fit


def load_replica(
    model: ModelConfig,
    dtype: str,
    device: str,
    anchors: Sequence[Encoding],
    *,
    engine: str = "auto",
    max_pack_tokens: int | None = None,
) -> Engine:
    """Load `model` in `dtype` (bfloat16 or float32) on `device` and make its engine for `anchors`.

    Raises UserError as `load_model` and `make_engine` do, and where the GPU is too small.
    """
    try:
        loaded = load_model(model, dtype, device)
        return make_engine(loaded, anchors, engine=engine, max_pack_tokens=max_pack_tokens)
    except torch.OutOfMemoryError as error:
        raise UserError(does_not_fit(model, dtype)) from error
