"""What is exported of any architecture: whole, under names that other tools know, in shards."""

import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from tiny_models import COMMON, make_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    MixtralConfig,
)

from nuggets_ray.config.schema import ModelConfig, PromptConfig
from nuggets_ray.errors import UserError
from nuggets_ray.finetune import export as module
from nuggets_ray.finetune.answer_end import find_answer_end
from nuggets_ray.finetune.export import merge, write_config, write_shards, write_tokenizer
from nuggets_ray.model.adapter import ADAPTER_WEIGHTS
from nuggets_ray.model.weights.headers import check_weights
from nuggets_ray.prompts.prompt import make_prompt


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
    weights = ADAPTER_WEIGHTS[0]
    shutil.copy(tmp_path / "q_proj" / weights, tmp_path / "v_proj" / weights)
    with pytest.raises(UserError, match=f"does not fit model.path={base.path} .*_proj.lora_"):
        merge(base, "float32", str(tmp_path / "v_proj"))
    merge(base, "float32", str(tmp_path / "q_proj"))
    check_weights(ModelConfig(path=str(tmp_path / "q_proj")))


def test_generation_stops_at_the_end_that_was_trained(tiny_model: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    write_tokenizer(tokenizer, ModelConfig(path=str(tiny_model)), 77, str(tmp_path))
    settings = GenerationConfig.from_pretrained(tmp_path)
    assert settings.eos_token_id == [77, 1] and settings.pad_token_id == 1
    exported = AutoTokenizer.from_pretrained(tmp_path)
    assert exported.get_vocab() == tokenizer.get_vocab()
    assert exported.eos_token_id == 77


class Says(LogitsProcessor):
    """A model's answer: these tokens, one after the other."""

    def __init__(self, token_ids: list[int], num_prompt_tokens: int) -> None:
        self.token_ids, self.start = token_ids, num_prompt_tokens

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        said = torch.full_like(scores, -torch.inf)
        said[:, self.token_ids[input_ids.shape[1] - self.start]] = 0.0
        return said


def test_an_exported_model_is_stopped_by_its_own_settings_alone(
    tiny_model: Path, tmp_path: Path
) -> None:
    """A base model whose template ends a turn otherwise than its tokenizer ends a text."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '<|im_end|>' }}{% endfor %}"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    base = ModelConfig(path=str(tmp_path / "base"))
    prompt = make_prompt(tokenizer, PromptConfig("auto"))
    end = find_answer_end(prompt, tokenizer, base.path)
    assert end.token_id == tokenizer.convert_tokens_to_ids("<|im_end|>") != tokenizer.eos_token_id
    model.save_pretrained(tmp_path / "trained")
    write_tokenizer(tokenizer, base, end.token_id, str(tmp_path / "trained"))
    served = AutoModelForCausalLM.from_pretrained(tmp_path / "trained")
    asked = torch.tensor([[5, 6, 7]])
    says = LogitsProcessorList([Says([8, 9, end.token_id, *[8] * 20], 3)])
    answer = served.generate(asked, logits_processor=says, max_new_tokens=20, do_sample=False)
    assert answer[0, 3:].tolist() == [8, 9, end.token_id]


def test_a_tokenizer_whose_template_writes_its_end_of_text_keeps_it(
    tiny_model: Path, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}{{ eos_token }}"
    write_tokenizer(tokenizer, ModelConfig(path=str(tiny_model)), 77, str(tmp_path))
    assert AutoTokenizer.from_pretrained(tmp_path).eos_token_id == 1
    assert GenerationConfig.from_pretrained(tmp_path).eos_token_id == [77, 1]
