"""No number comes from a weight that no file gives, and none is left out without a word."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from broken_folders import (
    Tensors,
    adding,
    as_bin,
    as_classifier,
    as_float8,
    as_gptq,
    as_reward_model,
    in_shards,
    prefixed,
    rewrite,
    set_config,
    without_head,
)
from tiny_models import make_model
from transformers import GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import load_model
from nuggets_ray.model.weights.check import check_report
from nuggets_ray.model.weights.headers import check_weights
from nuggets_ray.model.weights.report import LoadReport

ONE = torch.ones(1)
ROW = torch.ones(32)


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def load(folder: Path, **settings: object) -> torch.nn.Module:
    return load_model(ModelConfig(str(folder), **settings), "float32", "cpu")


BROKEN = {
    "no head": (without_head, ["lack 1", "lm_head.weight", "output head", "ignore_keys"]),
    "DataParallel": (prefixed("module."), ["wrapper, module."]),
    "compiled": (prefixed("_orig_mod."), ["wrapper, _orig_mod."]),
    "peft": (prefixed("base_model.model."), ["wrapper, base_model.model."]),
    "reward model": (as_reward_model, ["reward model", "score.weight"]),
    "value head": (adding(v_head__summary__weight=ROW[None]), ["reward model", "v_head"]),
    "regression": (adding(regression_head__weight=ROW[None]), ["reward model", "regression_head"]),
    "a head of its own": (
        as_classifier,
        ["reward model", "LlamaForProcessRewardModel", "probe.weight"],
    ),
    "GPTQ": (as_gptq, ["quantised", "g_idx", "no quantization_config"]),
    "ModelOpt": (as_float8(True, "modelopt"), ["weight_scale", "modelopt"]),
    "float8": (as_float8(False, None), ["float8_e4m3fn", "no quantization_config"]),
    "a layer more": (
        adding(model__layers__2__input_layernorm__weight=ROW),
        ["num_hidden_layers=2", "hold 3", "layers.2.input_layernorm"],
    ),
    "a bias": (
        adding(model__layers__0__self_attn__q_proj__bias=ROW),
        ["llama", "q_proj.bias", 'ignore_keys=["self_attn.q_proj.bias"]'],
    ),
    "another size": (
        lambda folder: set_config(folder, vocab_size=300),
        ["another size", "lm_head.weight is [258, 32]", "[300, 32]", "config.json"],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize(
    "refuse", [load, lambda folder: check_weights(ModelConfig(str(folder)))], ids=["load", "look"]
)
def test_a_model_that_would_be_partly_random_is_refused(
    name: str, refuse: Callable[[Path], object], folder: Path
) -> None:
    spoil, words = BROKEN[name]
    spoil(folder)
    with pytest.raises(UserError) as refused:
        refuse(folder)
    told = str(refused.value)
    assert told.startswith(f"model.path={folder}") and "\n" not in told
    assert [word for word in words if word not in told] == [], told


HARMLESS = {
    "vision": (adding(model__visual__blocks__0__attn__qkv__weight=ROW), "vision or audio towers"),
    "audio": (adding(audio_tower__conv1__weight=ROW), "vision or audio towers"),
    "mtp": (adding(mtp__layers__0__input_layernorm__weight=ROW), "multi-token-prediction heads"),
    "KV cache": (adding(model__layers__0__self_attn__k_proj__k_scale=ONE), "scales of the KV"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_has_no_part_in_the_text_is_told_and_loads(
    name: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spoil, kind = HARMLESS[name]
    spoil(folder)
    check_weights(ModelConfig(str(folder)))
    assert kind in caplog.text and "LOAD REPORT" not in caplog.text
    load(folder)


def test_buffers_of_older_checkpoints_load(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    adding(model__layers__1__self_attn__rotary_emb__inv_freq=ROW)(folder)
    load(folder)
    model_config = make_model("llama").config
    report = LoadReport(
        unexpected=frozenset({"h.0.attn.masked_bias", "h.0.attn.bias", "rope.freqs"})
    )
    check_report(ModelConfig("x"), model_config, report)
    assert "not used: buffers (h.0.attn.bias and 2 more)" in caplog.text
    strange = LoadReport(unexpected=frozenset({"h.0.attn.strange"}))
    with pytest.raises(UserError, match="h.0.attn.strange"):
        check_report(ModelConfig("x"), model_config, strange)


def test_layers_that_predict_further_tokens_are_none_too_many(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    adding(model__layers__2__input_layernorm__weight=ROW)(folder)
    set_config(folder, num_nextn_predict_layers=1)
    check_weights(ModelConfig(str(folder)))
    assert "multi-token-prediction heads (model.layers.2" in caplog.text
    adding(model__layers__3__input_layernorm__weight=ROW)(folder)
    with pytest.raises(UserError, match="num_hidden_layers=2"):
        check_weights(ModelConfig(str(folder)))


def test_ignore_keys_lets_be_and_says_so(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    without_head(folder)
    first, second = (load(folder, ignore_keys=[r"^lm_head\."]) for _ in range(2))
    # missing weights are random, but the same in every worker
    assert torch.equal(first.lm_head.weight, second.lm_head.weight)
    assert "1 weights are left as they are (lm_head.weight)" in caplog.text
    check_weights(ModelConfig(str(folder), ignore_keys=["lm_head"]))
    with pytest.raises(UserError, match="lm_head"):
        load(folder, ignore_keys=["score"])


def test_ignore_keys_holds_for_sizes_surplus_and_dtypes(folder: Path) -> None:
    as_float8(has_scales=True, method=None)(folder)
    keys = [r"proj\.weight(_scale)?$"]
    check_weights(ModelConfig(str(folder), ignore_keys=keys))
    set_config(folder, vocab_size=300)
    with pytest.raises(UserError, match="another size"):
        load(folder, ignore_keys=keys)
    load(folder, ignore_keys=[*keys, "embed_tokens", "lm_head"])


def test_a_pattern_that_matches_nothing_is_said(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    check_weights(ModelConfig(str(folder), ignore_keys=["lm_hed"]))
    assert "model.ignore_keys: lm_hed matches nothing" in caplog.text


def test_a_pattern_that_is_none_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"model.ignore_keys=\( is no regular expression"):
        check_weights(ModelConfig(str(folder), ignore_keys=["("]))


def as_it_is(folder: Path) -> None:
    pass


@pytest.mark.parametrize("change", [as_it_is, in_shards, as_bin])
def test_a_healthy_folder_is_taken_without_a_word(
    change: Callable[[Path], object], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = load(folder).state_dict()
    change(folder)
    check_weights(ModelConfig(str(folder)))
    found = load(folder).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert [r.message for r in caplog.records if r.name.startswith("nuggets_ray")] == []


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "gpt_oss", "jamba", "bloom"])
def test_healthy_models_of_other_families(
    family: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = make_model(family)
    model.save_pretrained(tmp_path)
    check_weights(ModelConfig(str(tmp_path)))
    found = load(tmp_path).state_dict()
    assert all(torch.equal(found[key], value) for key, value in model.state_dict().items())
    assert [r.message for r in caplog.records if r.name.startswith("nuggets_ray")] == []


def test_a_quantisation_that_loading_undoes_is_taken(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "intermediate_size": 128, "num_hidden_layers": 1}
    LlamaForCausalLM(LlamaConfig(vocab_size=64, **sizes)).save_pretrained(tmp_path)
    expected = load(tmp_path).model.layers[0].mlp.up_proj.weight

    def pack(old: Tensors) -> Tensors:
        new = dict(old)
        for name in [name for name in old if name.endswith("proj.weight")]:
            scale = old[name].abs().max() / 448
            new[name] = (old[name] / scale).to(torch.float8_e4m3fn)
            new[f"{name}_scale_inv"] = scale[None, None]
        return new

    rewrite(tmp_path, pack)
    settings = {"quant_method": "fp8", "weight_block_size": [128, 128], "dequantize": True}
    set_config(tmp_path, quantization_config=settings)
    check_weights(ModelConfig(str(tmp_path)))
    found = load(tmp_path).model.layers[0].mlp.up_proj.weight
    torch.testing.assert_close(found.float(), expected, rtol=0.1, atol=1e-3)


def test_a_body_alone_is_whole_where_the_head_is_tied(tmp_path: Path) -> None:
    model = make_model("gpt2")
    assert isinstance(model, GPT2LMHeadModel)
    model.transformer.save_pretrained(tmp_path)
    check_weights(ModelConfig(str(tmp_path)))
    assert torch.equal(load(tmp_path).lm_head.weight, model.transformer.wte.weight)
