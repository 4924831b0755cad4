"""A replica whose model does not fit."""

from pathlib import Path

import pytest
import torch

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.score import replica


def test_a_model_that_does_not_fit_the_gpu_is_one_sentence(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(replica, "load_model", full)
    with pytest.raises(UserError, match=r"bfloat16 \(0\.0 GiB\) do not fit .*score.backend=vllm"):
        replica.load_replica(ModelConfig(str(tiny_model)), "bfloat16", "cuda", [])
