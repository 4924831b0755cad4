"""DeepSpeed's checkpoint files are read as tensors and plain values: nothing in them can run.

DeepSpeed pickles objects of its own into them and reads them by torch.load(weights_only=False),
which runs whatever a file says. Forced to weights_only, torch makes no object but of the classes
named here and refuses a file that asks for another.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
"""torch.load then overrules the weights_only=False of its callers."""


@contextmanager
def plain_load() -> Iterator[None]:
    """torch.load, DeepSpeed's own calls too, as weights_only for the time of the context."""
    before = os.environ.get(FORCE)
    os.environ[FORCE] = "1"
    try:
        with torch.serialization.safe_globals(_deepspeed_classes()):
            yield
    finally:
        if before is None:
            del os.environ[FORCE]
        else:
            os.environ[FORCE] = before


def _deepspeed_classes() -> list[Any]:
    """What DeepSpeed's files hold beside tensors: records, whose loading only fills fields."""
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    return [LossScaler, ZeroStageEnum, fragment_address]
