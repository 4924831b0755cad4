"""Where a model comes from, what it is loaded as, and the sentence for each thing that is wrong."""

import contextlib
import json
import shutil

import pytest
import torch
from broken_folders import set_config
from tiny_models import make_model
from transformers import BloomConfig, GPT2Config, LlamaConfig

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import (
    keep_soft_cap,
    load_config,
    load_model,
    load_tokenizer,
    max_context_tokens,
    resolve_dtype,
    resolve_path,
)


def test_a_folder_is_its_own_path(tiny_model):
    assert resolve_path(ModelConfig(path=str(tiny_model))) == str(tiny_model)


def test_a_model_is_loaded_for_inference(tiny_model):
    config = ModelConfig(path=str(tiny_model))
    model = load_model(config, "bfloat16", "cpu")
    assert model.dtype == torch.bfloat16 and not model.training
    assert not any(weight.requires_grad for weight in model.parameters())
    assert load_config(config).vocab_size == model.config.vocab_size
    tokenizer = load_tokenizer(config)
    assert tokenizer.decode(tokenizer("round trip").input_ids) == "round trip"


def test_what_config_json_asks_of_the_outputs_does_not_matter(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    set_config(folder, return_dict=False, output_attentions=True, output_hidden_states=True)
    model = load_model(ModelConfig(path=str(folder)), "float32", "cpu")
    with torch.inference_mode():
        output = model(input_ids=torch.arange(5)[None])
    assert output.logits.shape == (1, 5, model.config.vocab_size)
    assert output.hidden_states is None and output.attentions is None


@pytest.mark.parametrize(
    "path, reason",
    [
        ("/no/such/folder", "does not exist"),
        ("./no/such", "does not exist"),
        ("nobody/no-such-model", "the hub cannot be reached"),
        ("no-such-model", "the hub cannot be reached"),
    ],
)
def test_a_model_that_is_not_there_is_named(path, reason):
    with pytest.raises(UserError, match=f"model.path={path} .*{reason}"):
        resolve_path(ModelConfig(path=path))


def test_a_folder_without_config_and_a_file_are_named(tmp_path):
    with pytest.raises(UserError, match="has no config.json"):
        resolve_path(ModelConfig(path=str(tmp_path)))
    weights = tmp_path / "model.gguf"
    weights.touch()
    with pytest.raises(UserError, match="is a file"):
        resolve_path(ModelConfig(path=str(weights)))


@pytest.mark.parametrize("load", [load_config, lambda c: load_model(c, "float32", "cpu")])
@pytest.mark.parametrize("content", ["{}", "not json", '{"model_type": "no_such_type"}'])
def test_a_folder_that_is_no_model_is_named(tmp_path, content, load):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=f"model.path={tmp_path} cannot be loaded"):
        load(ModelConfig(path=str(tmp_path)))


def test_the_config_of_an_unknown_architecture_can_be_read(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "no_such_type", "n_positions": 99}')
    config = load_config(ModelConfig(path=str(tmp_path)), any_architecture=True)
    assert max_context_tokens(config) == 99


def test_a_model_without_tokenizer_is_named(tmp_path):
    LlamaConfig().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="no tokenizer"):
        load_tokenizer(ModelConfig(path=str(tmp_path)))


def test_dtypes():
    assert resolve_dtype("float32", "chat", "cpu") == "float32"
    assert resolve_dtype("bfloat16", "official", "cpu") == "bfloat16"
    assert resolve_dtype("auto", "official", "cpu") == "float32"
    with pytest.raises(UserError, match="score.dtype=half"):
        resolve_dtype("half", "chat", "cpu")


@pytest.mark.parametrize(
    "capabilities, expected",
    [({}, "float32"), ({"avx512_bf16": True}, "bfloat16"), ({"avx512_bf16": False}, "float32")],
)
def test_auto_is_bfloat16_where_the_cpu_has_it(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert resolve_dtype("auto", "chat", "cpu") == expected


@pytest.mark.parametrize("has_units, expected", [(True, "bfloat16"), (False, "float32")])
def test_auto_is_bfloat16_where_the_gpu_computes_it(monkeypatch, has_units, expected):
    def supported(including_emulation=True):
        return has_units or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert resolve_dtype("auto", "chat", "cuda") == expected


def test_context_lengths():
    assert max_context_tokens(LlamaConfig(max_position_embeddings=77)) == 77
    assert max_context_tokens(GPT2Config(n_positions=55)) == 55
    assert max_context_tokens(BloomConfig()) is None


def test_a_soft_cap_is_kept():
    # make_model calls keep_soft_cap; sdpa would drop the cap silently.
    assert make_model("gemma2").config._attn_implementation == "eager"
    llama = make_model("llama")
    keep_soft_cap(llama)
    assert llama.config._attn_implementation == "sdpa"


OWN_CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

Path({ran!r}).write_text("it ran")


class Config(LlamaConfig):
    model_type = "{model_type}"


class Model(LlamaForCausalLM):
    config_class = Config


class Tokenizer(PreTrainedTokenizerFast):
    pass
"""


@pytest.mark.parametrize("model_type", ["llama", "own"])
def test_code_of_a_model_folder_runs_only_where_it_is_asked_for(
    tiny_model, tmp_path, monkeypatch, model_type
):
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder, ran = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(tiny_model, folder)
    code = OWN_CODE.format(ran=str(ran), model_type=model_type)
    (folder / "own.py").write_text(code, encoding="utf-8")
    classes = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    for name, changes in (
        ("config.json", {"model_type": model_type, "auto_map": classes}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": [None, "own.Tokenizer"]}}),
    ):
        told = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps(told | changes), encoding="utf-8")
    for load in (load_config, load_tokenizer, lambda model: load_model(model, "float32", "cpu")):
        with contextlib.suppress(UserError):
            load(ModelConfig(path=str(folder)))
        assert not ran.exists()
    load_config(ModelConfig(path=str(folder), trust_remote_code=True))
    assert ran.exists()
