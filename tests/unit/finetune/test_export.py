"""What is exported of any architecture: whole, under names that other tools know, in shards."""

import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from tiny_models import COMMON, make_model
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, MixtralConfig

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.finetune import export as module
from nuggets_ray.finetune.export import ADAPTER, merge, write_config, write_shards, write_tokenizer
from nuggets_ray.model.weights.headers import check_weights


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


def test_an_adapter_of_another_model_is_not_merged(tmp_path: Path) -> None:
    base = save_model("llama", tmp_path / "base")
    for target in ("q_proj", "v_proj"):
        settings = LoraConfig(r=2, target_modules=[target], init_lora_weights=False)
        get_peft_model(make_model("llama"), settings).save_pretrained(tmp_path / target)
    shutil.copy(tmp_path / "q_proj" / ADAPTER, tmp_path / "v_proj" / ADAPTER)
    with pytest.raises(UserError, match=f"does not fit model.path={base.path} .*_proj.lora_"):
        merge(base, "float32", str(tmp_path / "v_proj"))
    merge(base, "float32", str(tmp_path / "q_proj"))
    check_weights(ModelConfig(path=str(tmp_path / "q_proj")))


def test_generation_stops_at_the_end_that_was_trained(tiny_model: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    write_tokenizer(tokenizer, ModelConfig(path=str(tiny_model)), [1, 77], str(tmp_path))
    settings = GenerationConfig.from_pretrained(tmp_path)
    assert settings.eos_token_id == [1, 77] and settings.pad_token_id == 1
    assert AutoTokenizer.from_pretrained(tmp_path).get_vocab() == tokenizer.get_vocab()
