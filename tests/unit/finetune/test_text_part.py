"""Of a model that takes pictures too the text part is trained; the rest is exported as it came."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from train_runs import LENGTHS, Case, make_rows, run, zero
from transformers import AutoModelForImageTextToText
from vision_models import save_vision_model

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.finetune.export import export_weights
from nuggets_ray.finetune.size import trained_size
from nuggets_ray.model.load import load_model

pytestmark = pytest.mark.long

BASE = {"learning_rate": 3e-2, "warmup_fraction": 0.0, "weight_decay": 0.1}
CONFIGS = {
    "full2": FinetuneConfig(**BASE, deepspeed=zero(2)),
    "full3": FinetuneConfig(**BASE, deepspeed=zero(3)),
    "lora2": FinetuneConfig(**BASE, method="lora", lora_rank=4, deepspeed=zero(2)),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llava")
    save_vision_model("llava", folder)
    return folder


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    cases = [Case(name, str(base), config) for name, config in CONFIGS.items()]
    return run(cases, 2, tmp_path_factory.mktemp("trained"))


@torch.no_grad()
def loss(model: Any) -> float:
    """Mean loss per answer token, row by row, whole logits."""
    rows = make_rows(LENGTHS)
    total = 0.0
    for index in range(rows.num_rows):
        ids, mask = rows.row(index)
        logits = model(torch.from_numpy(ids.astype(np.int64))[None]).logits[0].float()
        answers = np.flatnonzero(mask)
        picked = logits[answers - 1].log_softmax(-1)[range(len(answers)), ids[answers]]
        total -= picked.sum().item()
    return total / int(rows.num_answer_tokens_N.sum())


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_exported_loses_what_the_training_lost(
    base: Path, trained: dict[str, dict[str, Any]], tmp_path: Path, name: str
) -> None:
    found, config = trained[name], CONFIGS[name]
    assert found["losses"][0] - found["losses"][-1] > 0.5
    assert found["resumed_losses"] == found["next_losses"]
    export_weights(ModelConfig(str(base)), config, "float32", found["checkpoint"], str(tmp_path))
    model = load_model(ModelConfig(str(tmp_path)), "float32", "cpu")
    assert loss(model) == pytest.approx(found["eval_loss"], rel=1e-4)
    before = AutoModelForImageTextToText.from_pretrained(base).state_dict()
    after = model.state_dict()
    others = [key for key in before if "vision_tower" in key or "projector" in key]
    assert others and all(torch.equal(before[key], after[key]) for key in others)


@pytest.mark.parametrize("name", ["full2", "lora2"])
def test_only_what_is_trained_counts_as_trained(base: Path, name: str) -> None:
    size = trained_size(ModelConfig(str(base)), CONFIGS[name], "float32")
    model = load_model(ModelConfig(str(base)), "float32", "cpu")
    whole = sum(weight.numel() for weight in model.parameters())
    text = whole - sum(
        weight.numel()
        for key, weight in model.named_parameters()
        if "vision_tower" in key or "projector" in key
    )
    assert size.num_parameters == whole
    if name == "full2":
        assert size.num_trained == text
    else:
        assert size.lora is not None and size.lora.unreached == {}
        assert set(size.lora.modules) <= {
            *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
        }
