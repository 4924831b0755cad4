"""Which settings of DeepSpeed's finetune.deepspeed may hold, and the right one for a misspelt one.

DeepSpeed takes what it knows out of the dictionary and says nothing of the rest, so a misspelt key
trains with the default. At the top level the keys below are allowed: those that DeepSpeed 0.19
reads and that mean something to this training. What lies under them is held against DeepSpeed's own
models. Deepspeed is imported inside, where there is more to check than a ZeRO
stage.
"""

import difflib
import logging
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from nuggets_ray.errors import UserError
from nuggets_ray.finetune.deepspeed_config import DEFAULTS, TAKEN

VALUES: dict[str, type] = {
    "zero_allow_untested_optimizer": bool,
    "zero_force_ds_cpu_optimizer": bool,
    "steps_per_print": int,
    "wall_clock_breakdown": bool,
    "memory_breakdown": bool,
    "dump_state": bool,
    "log_level": str,
    "disable_allgather": bool,
    "disable_python_gc": bool,
    "prescale_gradients": bool,
    "gradient_predivide_factor": float,
}
GROUPS: dict[str, dict[str, Any]] = {
    "data_types": {
        "grad_accum_dtype": str,
        "param_dtype": str,
        "buffer_dtype": str,
        "keep_in_fp32_modules": str | list[str],
    },
    "flops_profiler": {
        "enabled": bool,
        "recompute_fwd_factor": float,
        "profile_step": int,
        "module_depth": int,
        "top_modules": int,
        "detailed": bool,
        "output_file": str | None,
    },
    "aio": {
        "block_size": int,
        "queue_depth": int,
        "intra_op_parallelism": int,
        "single_submit": bool,
        "overlap_events": bool,
        "use_gds": bool,
    },
}
"""Groups of settings for which DeepSpeed has no model."""
MODELS = ("zero_optimization", "comms_logger", "tensorboard", "wandb", "csv_monitor", "comet")
"""Groups of settings for which it has one; timers holds one more."""
ALLOWED = (*MODELS, "timers", *GROUPS, *VALUES)


def check_keys(given: Mapping[str, Any]) -> None:
    """Raise UserError for a key of finetune.deepspeed that would not be used, naming the nearest
    right one, and for a value that DeepSpeed does not take.
    """
    given = {key: value for key, value in given.items() if key not in TAKEN}
    for key in given:
        if key not in ALLOWED:
            raise UserError(_unknown(key, _schema()))
    zero = given.get("zero_optimization", {})
    if set(given) <= {"zero_optimization"} and isinstance(zero, Mapping) and set(zero) <= {"stage"}:
        return  # deepspeed_config.py knows the stages, and importing DeepSpeed takes seconds
    from pydantic import ValidationError

    schema = _schema()
    if isinstance(zero, Mapping):
        _refuse_deprecated(zero, schema)
        given["zero_optimization"] = {**DEFAULTS["zero_optimization"], **zero}
    try:
        schema.model_validate(given)
    except ValidationError as error:
        raise UserError(_sentence(error.errors()[0], schema)) from error


def _sentence(error: Mapping[str, Any], schema: Any) -> str:
    """One of pydantic's errors with its key and value."""
    key = ".".join(str(part) for part in error["loc"] if not str(part).startswith("function-"))
    if error["type"] == "extra_forbidden":
        return _unknown(key, schema)
    value = f"={error['input']}" if isinstance(error["input"], str | int | float | None) else ""
    reason = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return f"finetune.deepspeed.{key}{value}: {reason}"


def _unknown(key: str, schema: Any) -> str:
    names = [*_names(schema), *TAKEN]
    group = key.rpartition(".")[0]
    beside = [name for name in names if name.rpartition(".")[0] == group]
    if group:
        close = difflib.get_close_matches(key.rpartition(".")[2], [_last(n) for n in beside], n=1)
        near = [f"{group}.{name}" for name in close]
    else:
        near = [name for name in names if _last(name) == key]
        near = near or difflib.get_close_matches(key, names, n=1)
    if not near:
        way_out = f"take one of {', '.join(sorted(map(_last, set(beside) - set(TAKEN))))}"
    elif near[0] in TAKEN:
        way_out = f"for {near[0]}, {TAKEN[near[0]]}"
    else:
        way_out = f"did you mean finetune.deepspeed.{near[0]}?"
    return f"finetune.deepspeed.{key} is no setting of DeepSpeed that training takes: {way_out}"


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _refuse_deprecated(zero: Mapping[str, Any], schema: Any) -> None:
    """The estimate of memory and the optimizer are chosen by the keys that took their place."""
    fields = schema.model_fields["zero_optimization"].annotation.model_fields
    for key in zero:
        extra = (fields[key].json_schema_extra if key in fields else None) or {}
        if extra.get("deprecated"):
            raise UserError(
                f"finetune.deepspeed.zero_optimization.{key} is deprecated by DeepSpeed: give "
                f"{extra['new_param']} instead"
            )


def _names(model: Any, prefix: str = "") -> Iterator[str]:
    """Every key of a model and of those within it, dotted, as a user writes them."""
    from pydantic import BaseModel

    for name, field in model.model_fields.items():
        if (field.json_schema_extra or {}).get("deprecated"):
            continue
        key = prefix + (field.alias or name)
        yield key
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _names(kind, f"{key}.")


def _schema() -> Any:
    """A pydantic model of all that finetune.deepspeed takes."""
    silenced = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it tells which device it finds on this machine: no matter
    try:
        from deepspeed.comm.config import CommsLoggerConfig
        from deepspeed.monitor.config import CometConfig, CSVConfig, TensorBoardConfig, WandbConfig
        from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
        from deepspeed.utils.config import DeepSpeedThroughputTimerConfig
    finally:
        logging.disable(silenced)
    from pydantic import ConfigDict, create_model

    models = (
        *(DeepSpeedZeroConfig, CommsLoggerConfig, TensorBoardConfig, WandbConfig),
        *(CSVConfig, CometConfig),
    )

    def model(name: str, kinds: Mapping[str, Any]) -> Any:
        strict: Any = ConfigDict(extra="forbid")
        fields: Any = {key: (kind, None) for key, kind in kinds.items()}
        return create_model(name, __config__=strict, **fields)

    groups = {key: model(key, kinds) for key, kinds in GROUPS.items()}
    timers = model("timers", {"throughput": DeepSpeedThroughputTimerConfig})
    kinds = dict(zip(MODELS, models, strict=True)) | {"timers": timers} | groups | VALUES
    return model("deepspeed", kinds)
