"""What says nothing of the model is no user's mistake: memory, the device, other workers."""

import pytest
import torch

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import load_model
from nuggets_ray.model.weights.load_errors import cannot_load


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]"),
        torch.distributed.DistBackendError("NCCL error"),
    ],
)
def test_errors_of_the_machine_come_out_as_they_are(error, tiny_model, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", fail)
    with pytest.raises(type(error)):
        load_model(ModelConfig(str(tiny_model)), "float32", "cpu")


@pytest.mark.parametrize("kind", [RuntimeError, AttributeError, AssertionError, TypeError])
def test_whatever_else_is_raised_is_one_sentence(kind, tiny_model, monkeypatch):
    def fail(*_, **__):
        raise kind("the first thing.\nThe second thing. " + "x" * 999)

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", fail)
    with pytest.raises(UserError, match=f"{kind.__name__}: the first thing\\):") as refused:
        load_model(ModelConfig(str(tiny_model)), "float32", "cpu")
    assert len(str(refused.value)) < 500 + len(str(tiny_model))


def test_a_missing_package_is_named():
    error = ImportError("Using `bitsandbytes` 4-bit quantization requires bitsandbytes: `pip`")
    assert "not installed (Using `bitsandbytes`" in str(cannot_load(ModelConfig("/m"), error))
