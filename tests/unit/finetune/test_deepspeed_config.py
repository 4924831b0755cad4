"""DeepSpeed's dictionary: defaults, what the user sets over them, and what he may not."""

import pytest

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.deepspeed_config import (
    deepspeed_settings,
    offload_device,
    refines_master_weights,
    zero_stage,
)


def test_the_users_keys_lie_over_the_defaults() -> None:
    given = {"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "cpu"}}, "x": 1}
    config = FinetuneConfig(deepspeed=given, clip_norm=0.5)
    settings = deepspeed_settings(config, "bfloat16", num_slots=4)
    assert settings["zero_optimization"]["stage"] == zero_stage(config) == 3
    assert settings["zero_optimization"]["reduce_bucket_size"] == 50_000_000
    assert settings["x"] == 1 and settings["gradient_clipping"] == 0.5
    assert settings["gradient_accumulation_steps"] == 4
    assert settings["bf16"] == {"enabled": True}
    assert "bf16" not in deepspeed_settings(config, "float32", num_slots=1)
    assert offload_device(config, "optimizer") == "cpu"
    assert offload_device(config, "param") is None
    assert config.deepspeed == given


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_are_added_up_in_float32_unless_said_otherwise(dtype: str) -> None:
    key = "communication_data_type"
    assert deepspeed_settings(FinetuneConfig(), dtype, 1)[key] == "fp32"
    given = FinetuneConfig(communication_data_type="bfloat16")
    assert deepspeed_settings(given, dtype, 1)[key] == "bf16"


@pytest.mark.parametrize(
    ("dtype", "stage", "method", "base", "is_refined"),
    [
        ("bfloat16", 2, "full", "float32", True),
        ("bfloat16", 2, "full", "bfloat16", False),
        ("bfloat16", 0, "full", "float32", False),
        ("bfloat16", 2, "lora", "float32", False),
        ("float32", 2, "full", "float32", False),
    ],
)
def test_master_weights_apart_are_made_from_a_base_in_float32(
    dtype: str, stage: int, method: str, base: str, is_refined: bool
) -> None:
    config = FinetuneConfig(method, deepspeed={"zero_optimization": {"stage": stage}})
    assert refines_master_weights(config, dtype, base) is is_refined


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"bf16": {"enabled": True}}, "finetune.deepspeed.bf16.*finetune.dtype"),
        ({"train_batch_size": 8}, "train_batch_size.*finetune.batch_rows"),
        ({"communication_data_type": "bf16"}, "type.*finetune.communication_data_type=float32 or"),
        ({"zero_optimization": {"stage": 4}}, "stage=4: take one of"),
        ({"zero_optimization": {"stage": 0, "offload_optimizer": {"device": "cpu"}}}, "needs a"),
    ],
)
def test_a_setting_that_cannot_be_is_told(given: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        deepspeed_settings(FinetuneConfig(deepspeed=given), "float32", 1)
