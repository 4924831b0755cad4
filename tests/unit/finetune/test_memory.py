"""Memory by ZeRO's own arithmetic, and the way out where it does not fit."""

from dataclasses import replace

import pytest

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.memory import PROCESS_GIB, Room, TrainMemory, check_memory, memory
from nuggets_ray.finetune.size import TrainedSize

SIZE = TrainedSize(2**30, 2**30, hidden_size=2048, num_layers=24, kept_bytes=24 * 2 * 2048 * 20)
OFFLOAD = {"offload_optimizer": {"device": "cpu"}}


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
    found = memory(config(stage), SIZE, dtype, "cuda", num_workers=4, max_tokens=1)
    assert found.states_gib == pytest.approx(gib + PROCESS_GIB)


def test_offload_moves_states_to_the_host_and_lora_does_without_most() -> None:
    there = memory(config(2, **OFFLOAD), SIZE, "bfloat16", "cuda", 1, 1)
    assert there.states_gib == pytest.approx(2 + PROCESS_GIB)
    assert there.offloaded_gib == pytest.approx(16)
    lora = memory(config(2), replace(SIZE, num_trained=2**20), "bfloat16", "cuda", 1, 1)
    assert lora.states_gib == pytest.approx(2 + 16 / 1024 + PROCESS_GIB)


def test_on_a_cpu_what_is_offloaded_to_it_stays_where_it_is() -> None:
    here = memory(config(2, **OFFLOAD), SIZE, "bfloat16", "cpu", 1, 1)
    assert (here.states_gib, here.offloaded_gib) == (pytest.approx(18 + PROCESS_GIB), 0)
    disk = config(2, offload_optimizer={"device": "nvme"})
    away = memory(disk, SIZE, "bfloat16", "cpu", 1, 1)
    assert (away.states_gib, away.offloaded_gib) == (pytest.approx(2 + PROCESS_GIB), 0)


@pytest.mark.parametrize(
    ("stage", "dtype", "base", "method", "gib"),
    [
        (2, "bfloat16", "float32", "full", 4),
        (2, "bfloat16", "bfloat16", "full", 0),
        (2, "float32", "float32", "full", 0),
        (0, "bfloat16", "float32", "full", 0),
        (2, "bfloat16", "float32", "lora", 0),
    ],
)
def test_a_base_in_float32_is_read_once_more_under_bf16(
    stage: int, dtype: str, base: str, method: str, gib: float
) -> None:
    given = replace(config(stage), method=method)
    found = memory(given, replace(SIZE, base_dtype=base), dtype, "cuda", 4, 1)
    assert found.base_gib == pytest.approx(gib)


def test_recomputing_keeps_what_goes_into_each_layer_and_one_layer() -> None:
    kept = memory(config(2), SIZE, "bfloat16", "cuda", 1, 8192).activations_gib
    again = FinetuneConfig(gradient_checkpointing=True)
    less = memory(again, SIZE, "bfloat16", "cuda", 1, 8192).activations_gib
    tokens_gib = 8192 * 2 * 2048 / 2**30
    assert kept - less == pytest.approx(tokens_gib * (24 * 20 - 24 - 20))
    rough = replace(SIZE, kept_bytes=None)
    assert memory(config(2), rough, "bfloat16", "cuda", 1, 8192).activations_gib > kept


def test_what_cannot_fit_is_refused_with_a_way_out() -> None:
    needed = TrainMemory(states_gib=18.0, activations_gib=2.0, offloaded_gib=0.0, base_gib=0.0)
    assert check_memory(config(2), needed, Room("cpu", 24.0, 24.0)) == []
    [warned] = check_memory(config(2), needed, Room("cpu", 19.0, 19.0))
    assert "20.0 GiB" in warned and "micro_batch_tokens" in warned and "offload" not in warned
    with pytest.raises(UserError, match="18.0 for weights.*16.0 GiB.*stage=3.*finetune=lora"):
        check_memory(config(2), needed, Room("cpu", 16.0, 16.0))
    with pytest.raises(UserError, match="GPU memory.*offload_optimizer.device=cpu"):
        check_memory(config(2), needed, Room("cuda", 16.0, 64.0))


def test_the_host_is_looked_at_as_well() -> None:
    needed = TrainMemory(states_gib=3.0, activations_gib=2.0, offloaded_gib=16.0, base_gib=4.0)
    assert check_memory(config(2), needed, Room("cuda", 80.0, 20.0)) == []
    [warned] = check_memory(config(2), needed, Room("cuda", 80.0, 19.0))
    assert "4.0 GiB of float32 weights" in warned and "in bfloat16" in warned
    with pytest.raises(UserError, match="16.0 GiB of a worker are offloaded, 15.0 GiB of the host"):
        check_memory(config(2), needed, Room("cuda", 80.0, 15.0))
