"""DeepSpeed's configuration: our defaults, and over them finetune.deepspeed, in its key names."""

from collections.abc import Mapping
from typing import Any

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.errors import UserError

TAKEN = {
    "train_batch_size": "give finetune.batch_rows",
    "train_micro_batch_size_per_gpu": "give finetune.micro_batch_tokens",
    "gradient_accumulation_steps": "it follows from finetune.batch_rows and micro_batch_tokens",
    "gradient_clipping": "give finetune.clip_norm",
    "bf16": "give finetune.dtype=bfloat16",
    "fp16": "give finetune.dtype=bfloat16 or float32",
    "optimizer": "give finetune.learning_rate, weight_decay, adam_beta1, adam_beta2, adam_eps",
    "scheduler": "give finetune.lr_schedule",
    "torch_autocast": "give finetune.dtype=bfloat16",
    "activation_checkpointing": "give finetune.gradient_checkpointing=true",
    "communication_data_type": "give finetune.communication_data_type=float32 or bfloat16",
    "gradient_allreduce_op": "the loss is made for the mean over all workers",
}
"""DeepSpeed's keys that ours decide, each with the way out."""
STAGES = (0, 1, 2, 3)
COMMUNICATION = {"float32": "fp32", "bfloat16": "bf16"}
"""finetune.communication_data_type -> DeepSpeed's own names."""


def deepspeed_settings(config: FinetuneConfig, dtype: str, num_slots: int) -> dict[str, Any]:
    """The dictionary for `deepspeed.initialize`; `num_slots` micro-batches a step at most.

    Raises UserError for a key that another of ours decides, and for an unknown ZeRO stage.
    """
    for key in config.deepspeed:
        if key in TAKEN:
            raise UserError(f"finetune.deepspeed.{key}: {TAKEN[key]}; leave this one out")
    settings = _deep_merge(DEFAULTS, config.deepspeed)
    stage = settings["zero_optimization"]["stage"]
    if stage not in STAGES:
        raise UserError(
            f"finetune.deepspeed.zero_optimization.stage={stage}: take one of 0, 1, 2, 3"
        )
    offloads = [key for key in settings["zero_optimization"] if key.startswith("offload_")]
    if offloads and stage == 0:
        raise UserError(
            f"finetune.deepspeed.zero_optimization.{offloads[0]} needs a stage of 1 or more: "
            "stage 0 keeps everything on the worker"
        )
    settings |= {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": num_slots,
        "gradient_clipping": config.clip_norm,
        "communication_data_type": COMMUNICATION[config.communication_data_type],
    }
    if dtype == "bfloat16" and stage == 0:
        # under bf16 stage 0 would keep no float32 weights, and updates below 1/256 of one be lost
        settings["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
    elif dtype == "bfloat16":
        settings["bf16"] = {"enabled": True}
        settings["data_types"] = {"grad_accum_dtype": "fp32", **settings.get("data_types", {})}
    return settings


def weights_dtype(config: FinetuneConfig, dtype: str) -> str:
    """What the weights are loaded in: `dtype`, or float32 where it is autocast (ZeRO 0)."""
    return "float32" if zero_stage(config) == 0 else dtype


def refines_master_weights(config: FinetuneConfig, dtype: str, base_dtype: str) -> bool:
    """Whether every worker reads a base that is stored in float32 once more as it starts: under
    bf16 DeepSpeed keeps float32 weights apart, and makes them from the rounded ones.
    """
    is_apart = dtype == "bfloat16" and weights_dtype(config, dtype) == "bfloat16"
    return is_apart and config.method == "full" and base_dtype == "float32"


def zero_stage(config: FinetuneConfig) -> int:
    """The ZeRO stage that is asked for."""
    return int(_deep_merge(DEFAULTS, config.deepspeed)["zero_optimization"]["stage"])


def offload_device(config: FinetuneConfig, what: str) -> str | None:
    """Where DeepSpeed puts `what` (optimizer or param): cpu, nvme; None: where it is computed."""
    offload = (
        _deep_merge(DEFAULTS, config.deepspeed)["zero_optimization"].get(f"offload_{what}") or {}
    )
    device = offload.get("device", "none")
    return None if device == "none" else str(device)


def _deep_merge(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(defaults)
    for key, value in given.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _deep_merge(merged[key], value)
        else:
            merged[key] = value
    return merged


# Buckets of 50 million numbers: DeepSpeed's 500 million are 2 GB of float32 beside the weights.
DEFAULTS: dict[str, Any] = {
    "zero_optimization": {
        "stage": 2,
        "reduce_bucket_size": 50_000_000,
        "allgather_bucket_size": 50_000_000,
    },
    "zero_allow_untested_optimizer": True,
    "zero_force_ds_cpu_optimizer": False,
    "steps_per_print": 1_000_000_000,
    "wall_clock_breakdown": False,
}
