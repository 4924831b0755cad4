"""What of a model decides its memory: parameters, those that are trained, LoRA's reach and seed."""

from dataclasses import replace
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, GptOssConfig

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.finetune.deepspeed_config import deepspeed_settings
from nuggets_ray.finetune.engine import TrainSetup, trainable_model
from nuggets_ray.finetune.size import TrainedSize, trained_size
from nuggets_ray.finetune.steps import Schedule


def test_lora_trains_its_two_matrices_of_every_linear_layer(tiny_model: Path) -> None:
    model = ModelConfig(path=str(tiny_model))
    loaded = AutoModelForCausalLM.from_pretrained(tiny_model)
    num_parameters = sum(weight.numel() for weight in loaded.parameters())
    full = trained_size(model, FinetuneConfig(), "float32")
    assert replace(full, kept_bytes=None) == TrainedSize(
        num_parameters, num_parameters, hidden_size=32, num_layers=2, base_dtype="float32"
    )
    assert full.kept_bytes is not None and full.kept_bytes > 2 * 10 * 4 * 32
    lora = trained_size(model, FinetuneConfig(method="lora", lora_rank=4), "float32")
    linear = [m for m in loaded.model.modules() if type(m).__name__ == "Linear"]
    num_trained = sum(4 * (m.in_features + m.out_features) for m in linear)
    assert (lora.num_parameters, lora.num_trained) == (num_parameters, num_trained)


def moe(tmp_path: Path) -> ModelConfig:
    sizes = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2)
    heads = dict(num_attention_heads=4, num_key_value_heads=2)
    experts = dict(num_local_experts=4, num_experts_per_tok=2)
    GptOssConfig(vocab_size=61, **sizes, **heads, **experts, head_dim=8).save_pretrained(tmp_path)
    return ModelConfig(path=str(tmp_path))


def test_what_lora_cannot_reach_is_known(tiny_model: Path, tmp_path: Path) -> None:
    config = FinetuneConfig(method="lora", lora_rank=4)
    dense = trained_size(ModelConfig(path=str(tiny_model)), config, "float32").lora
    assert dense is not None and dense.unreached == {}
    assert {"q_proj", "down_proj"} <= set(dense.modules)
    few = replace(config, lora_target_modules=["q_proj"])
    narrow = trained_size(ModelConfig(path=str(tiny_model)), few, "float32").lora
    assert narrow is not None and narrow.modules == ("q_proj",)
    assert {"k_proj.weight", "up_proj.weight"} <= set(narrow.unreached)
    mixture = trained_size(moe(tmp_path), config, "float32").lora
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
