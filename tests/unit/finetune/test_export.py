"""What is exported of any architecture: whole, under names that other tools know, in shards."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tiny_models import COMMON, make_model
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, MixtralConfig

from nuggets_ray.config import ModelConfig
from nuggets_ray.finetune import export as module
from nuggets_ray.finetune.export import write_config, write_shards, write_tokenizer


def save_model(family: str, folder: Path) -> ModelConfig:
    if family == "mixtral":
        torch.manual_seed(0)
        config = MixtralConfig(**COMMON, num_local_experts=4)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    else:
        make_model(family).save_pretrained(folder)
    return ModelConfig(path=str(folder))


def names(folder: Path) -> set[str]:
    found: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as opened:
            found |= set(opened.keys())
    return found


@pytest.mark.parametrize("max_shard", ["5GB", "20KB"])
@pytest.mark.parametrize("family", ["llama", "mixtral", "gpt2", "gpt_neox"])
def test_a_model_is_written_under_the_names_it_came_with(
    family: str, max_shard: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SHARD", max_shard)
    base, out = save_model(family, tmp_path / "base"), tmp_path / "out"
    before = AutoModelForCausalLM.from_pretrained(base.path)
    write_shards(before.state_dict(), base, str(out), torch.float32)
    write_config(base, "float32", str(out))
    after, loading = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    ids = torch.arange(1, 30)[None]
    torch.testing.assert_close(before(ids).logits, after(ids).logits, rtol=0, atol=0)
    assert names(out) == names(tmp_path / "base")
    assert (out / "model.safetensors.index.json").exists() is (max_shard == "20KB")


def test_generation_stops_at_the_end_that_was_trained(tiny_model: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    write_tokenizer(tokenizer, ModelConfig(path=str(tiny_model)), [1, 77], str(tmp_path))
    settings = GenerationConfig.from_pretrained(tmp_path)
    assert settings.eos_token_id == [1, 77] and settings.pad_token_id == 1
    assert AutoTokenizer.from_pretrained(tmp_path).get_vocab() == tokenizer.get_vocab()
