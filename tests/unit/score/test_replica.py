"""Loading a replica: a GPU that is too small, and the engine that is asked for."""

from pathlib import Path

import pytest
import torch

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.score import replica
from nuggets_ray.score.replica import load_replica


def test_a_model_that_does_not_fit_the_gpu_is_one_sentence(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(replica, "load_model", full)
    with pytest.raises(UserError, match=r"bfloat16 \(0\.0 GiB\) do not fit .*score.backend=vllm"):
        load_replica(ModelConfig(path=str(tiny_model)), "bfloat16", "cuda", [])


def test_what_users_set_of_the_allocator_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(torch._C, "_accelerator_setAllocatorSettings", told.append)
    for name in replica.ALLOCATOR_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    replica.grow_segments()
    assert told == ["expandable_segments:True"]
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "max_split_size_mb:128")
    replica.grow_segments()
    assert len(told) == 1


def test_the_engine_and_the_pack_size_that_are_asked_for(tiny_model: Path) -> None:
    model = ModelConfig(path=str(tiny_model))
    loaded = load_replica(model, "float32", "cpu", [], engine="plain", max_pack_tokens=99)
    assert (loaded.name, loaded.max_pack_tokens) == ("plain", 99)
