"""What DeepSpeed would ignore without a word is refused, with the nearest right name."""

import sys
from pathlib import Path
from typing import Any

import pytest

from nuggets_ray.errors import UserError
from nuggets_ray.finetune.deepspeed_config import DEFAULTS, STAGES, TAKEN
from nuggets_ray.finetune.deepspeed_keys import ALLOWED, check_keys


def zero(**more: Any) -> dict[str, Any]:
    return {"zero_optimization": {"stage": 2, **more}}


@pytest.mark.parametrize(
    ("given", "key", "nearest"),
    [
        ({"zero_optimisation": {"stage": 3}}, "zero_optimisation", "zero_optimization"),
        ({"zero_stage": 3}, "zero_stage", "zero_optimization.stage"),
        ({"stage": 3}, "stage", "zero_optimization.stage"),
        (
            {"offload_optimizer": {"device": "cpu"}},
            "offload_optimizer",
            "zero_optimization.offload_optimizer",
        ),
        ({"wall_clock_brakedown": True}, "wall_clock_brakedown", "wall_clock_breakdown"),
        (zero(stag=3), "zero_optimization.stag", "zero_optimization.stage"),
        (
            zero(offload_optimiser={"device": "cpu"}),
            "zero_optimization.offload_optimiser",
            "zero_optimization.offload_optimizer",
        ),
        (
            zero(offload_param={"devise": "cpu"}),
            "zero_optimization.offload_param.devise",
            "zero_optimization.offload_param.device",
        ),
        (
            zero(stage3_prefetch_bucketsize=1),
            "zero_optimization.stage3_prefetch_bucketsize",
            "zero_optimization.stage3_prefetch_bucket_size",
        ),
        ({"timers": {"throughputs": {}}}, "timers.throughputs", "timers.throughput"),
        ({"flops_profiler": {"enable": True}}, "flops_profiler.enable", "flops_profiler.enabled"),
    ],
)
def test_a_misspelt_key_is_refused_with_the_nearest_right_one(
    given: dict[str, Any], key: str, nearest: str
) -> None:
    with pytest.raises(UserError) as told:
        check_keys(given)
    assert str(told.value).startswith(f"finetune.deepspeed.{key} is no setting of DeepSpeed")
    assert str(told.value).endswith(f"did you mean finetune.deepspeed.{nearest}?")


def test_what_is_near_to_nothing_gets_the_list() -> None:
    with pytest.raises(UserError, match=r"deepspeed.pipeline is no .*: take one of aio, comet, "):
        check_keys({"pipeline": {"stages": 2}})
    with pytest.raises(UserError, match=r"mics_shard_size is no .*reduce_bucket_size.*stage"):
        check_keys(zero(mics_shard_size=2))
    with pytest.raises(UserError, match="for gradient_clipping, give finetune.clip_norm"):
        check_keys({"gradient_cliping": 1.0})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (zero(reduce_bucket_size="big"), "zero_optimization.reduce_bucket_size=big: .*integer"),
        (zero(offload_param={"device": "gpu"}), "offload_param.device=gpu: .*'cpu' or 'nvme'"),
        (zero(offload_optimizer={"device": "cpu", "ratio": 0.5}), "zero_optimization: Partial off"),
        (zero(cpu_offload=True), "cpu_offload is deprecated .*give offload_optimizer instead"),
        ({"zero_optimization": 2}, "zero_optimization=2: .*dictionary"),
        ({"wall_clock_breakdown": "ture"}, "wall_clock_breakdown=ture: .*boolean"),
    ],
)
def test_a_value_that_deepspeed_does_not_take_is_one_sentence(
    given: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words) as told:
        check_keys(given)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "given",
    [
        zero(stage3_prefetch_bucket_size=10, offload_param={"device": "cpu"}, overlap_comm="auto"),
        zero(prefetch_bucket_size=10, offload_optimizer={"device": "nvme", "nvme_path": "/x"}),
        {"tensorboard": {"enabled": True, "job_name": "a"}, "timers": {"throughput": {}}},
        {"data_types": {"grad_accum_dtype": "fp32"}, "aio": {"block_size": 1, "use_gds": False}},
        {**DEFAULTS, "comms_logger": {"enabled": True}, "flops_profiler": {"profile_step": 2}},
        {"bf16": {}},  # deepspeed_config.py says why not
    ],
)
def test_what_deepspeed_knows_is_taken(given: dict[str, Any]) -> None:
    check_keys(given)
    with pytest.raises(UserError, match="no_such_key"):
        check_keys({**given, "no_such_key": 1})


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_alone_imports_no_deepspeed(stage: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deepspeed.runtime.zero.config", None)
    check_keys({"zero_optimization": {"stage": stage}})
    check_keys({})
    with pytest.raises(ImportError):  # what is looked up in DeepSpeed itself
        check_keys({"zero_optimization": {"stage": stage, "overlap_comm": True}})


def test_deepspeed_reads_every_key_that_is_allowed() -> None:
    """One that it reads no more would be ignored again."""
    from deepspeed.runtime import config, constants
    from deepspeed.utils import config as timers

    source = "".join(
        Path(module.__file__ or "").read_text(encoding="utf-8")
        for module in (config, constants, timers)
    )
    elsewhere = {"aio", "comms_logger", "flops_profiler", "tensorboard", "wandb", "csv_monitor"}
    names = {*ALLOWED, *TAKEN} - elsewhere - {"comet", "activation_checkpointing"}
    assert [name for name in sorted(names) if f'"{name}"' not in source.replace("'", '"')] == []
