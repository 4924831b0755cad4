"""Memory by ZeRO's own arithmetic, the hint where it does not fit, and the count of work."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GptOssConfig

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.deepspeed_config import deepspeed_settings
from nuggets_ray.finetune.engine import TrainSetup, trainable_model
from nuggets_ray.finetune.estimate import (
    PROCESS_GIB,
    TrainedSize,
    TrainMemory,
    check_memory,
    flops,
    memory,
    seconds,
    trained_size,
)
from nuggets_ray.finetune.steps import Schedule

SIZE = TrainedSize(2**30, 2**30, hidden_size=2048, num_layers=24)


def config(stage: int, **zero: object) -> FinetuneConfig:
    return FinetuneConfig(deepspeed={"zero_optimization": {"stage": stage, **zero}})


@pytest.mark.parametrize(
    ("stage", "dtype", "gib"),
    [
        (0, "float32", 4 + 4 + 8),
        (1, "bfloat16", 2 + 4 + 12 / 4),
        (2, "bfloat16", 2 + 4 / 4 + 12 / 4),
        (3, "bfloat16", (2 + 4 + 12) / 4),
    ],
)
def test_states_shrink_with_the_stage(stage: int, dtype: str, gib: float) -> None:
    found = memory(config(stage), SIZE, dtype, num_workers=4, max_tokens=1)
    assert found.states_gib == pytest.approx(gib + PROCESS_GIB)


def test_offload_moves_states_to_the_host_and_lora_does_without_most() -> None:
    there = memory(config(2, offload_optimizer={"device": "cpu"}), SIZE, "bfloat16", 1, 1)
    assert there.states_gib == pytest.approx(2 + PROCESS_GIB)
    assert there.host_gib == pytest.approx(16)
    lora = memory(config(2), TrainedSize(2**30, 2**20, 2048, 24), "bfloat16", 1, 1)
    assert lora.states_gib == pytest.approx(2 + 16 / 1024 + PROCESS_GIB)


def test_recomputing_keeps_fewer_activations() -> None:
    kept = memory(config(2), SIZE, "bfloat16", 1, 8192).activations_gib
    again = FinetuneConfig(gradient_checkpointing=True)
    assert memory(again, SIZE, "bfloat16", 1, 8192).activations_gib < kept / 3


def test_what_cannot_fit_is_refused_with_a_way_out() -> None:
    needed = TrainMemory(states_gib=18.0, activations_gib=2.0, host_gib=0.0)
    assert check_memory(config(2), needed, 24.0, "memory") is None
    warned = check_memory(config(2), needed, 19.0, "memory")
    assert warned and "20.0 GiB" in warned and "micro_batch_tokens" in warned
    with pytest.raises(UserError, match="18.0 for weights.*16.0 GiB.*stage=3.*finetune=lora"):
        check_memory(config(2), needed, 16.0, "memory")


def test_work_counts_what_is_trained_and_what_is_done_again() -> None:
    full = flops(FinetuneConfig(), TrainedSize(100, 100, 1, 1), 10)
    lora = flops(FinetuneConfig(method="lora"), TrainedSize(100, 0, 1, 1), 10)
    again = flops(FinetuneConfig(gradient_checkpointing=True), TrainedSize(100, 100, 1, 1), 10)
    assert (full, lora, again) == (6000, 4000, 8000)
    assert seconds(4000, 100, 2) == pytest.approx(50)


def test_lora_trains_its_two_matrices_of_every_linear_layer(tiny_model: Path) -> None:
    model = ModelConfig(path=str(tiny_model))
    loaded = AutoModelForCausalLM.from_pretrained(tiny_model)
    num_parameters = sum(weight.numel() for weight in loaded.parameters())
    full = trained_size(model, FinetuneConfig())
    assert full == TrainedSize(num_parameters, num_parameters, hidden_size=32, num_layers=2)
    lora = trained_size(model, FinetuneConfig(method="lora", lora_rank=4))
    linear = [m for m in loaded.model.modules() if type(m).__name__ == "Linear"]
    num_trained = sum(4 * (m.in_features + m.out_features) for m in linear)
    assert replace(lora, lora=None) == TrainedSize(num_parameters, num_trained, 32, 2)


def moe(tmp_path: Path) -> ModelConfig:
    sizes = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2)
    heads = dict(num_attention_heads=4, num_key_value_heads=2)
    experts = dict(num_local_experts=4, num_experts_per_tok=2)
    GptOssConfig(vocab_size=61, **sizes, **heads, **experts, head_dim=8).save_pretrained(tmp_path)
    return ModelConfig(path=str(tmp_path))


def test_what_lora_cannot_reach_is_known(tiny_model: Path, tmp_path: Path) -> None:
    config = FinetuneConfig(method="lora", lora_rank=4)
    dense = trained_size(ModelConfig(path=str(tiny_model)), config).lora
    assert dense is not None and dense.unreached == {}
    assert {"q_proj", "down_proj"} <= set(dense.modules)
    few = replace(config, lora_target_modules=["q_proj"])
    narrow = trained_size(ModelConfig(path=str(tiny_model)), few).lora
    assert narrow is not None and narrow.modules == ("q_proj",)
    assert {"k_proj.weight", "up_proj.weight"} <= set(narrow.unreached)
    mixture = trained_size(moe(tmp_path), config).lora
    assert mixture is not None
    experts = sum(share for name, share in mixture.unreached.items() if "expert" in name)
    assert experts > 0.5, "fused experts are no linear layers"


def test_the_random_half_of_lora_is_a_function_of_the_seed(tiny_model: Path) -> None:
    def random_half(seed: int) -> torch.Tensor:
        lora = FinetuneConfig(method="lora", lora_rank=4)
        schedule = Schedule(8, 8, 3, seed)
        setup = TrainSetup(ModelConfig(str(tiny_model)), lora, schedule, "float32", "cpu", 80, 4)
        torch.seed()  # whatever went before
        model = trainable_model(setup, deepspeed_settings(lora, "float32", 4))
        halves = [w.detach().flatten() for n, w in model.named_parameters() if ".lora_A" in n]
        return torch.cat(halves)

    assert torch.equal(random_half(0), random_half(0))
    assert not torch.equal(random_half(0), random_half(1))
