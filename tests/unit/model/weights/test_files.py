"""A broken file is named, with what is wrong with it and the way out, before anything is loaded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from broken_folders import LFS, as_bin, cut, in_shards, set_config

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import load_model
from nuggets_ray.model.weights.headers import check_weights

SAFE, SHARD = "model.safetensors", "model-00002-of-00002.safetensors"


class Harmful:
    """What no file of weights has any business to hold."""


def bin_then(change: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: change(as_bin(folder))


def shards_then(change: Callable[[Path], object]) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        in_shards(folder)
        change(folder / SHARD)

    return spoil


def without_weights(folder: Path) -> None:
    (folder / SAFE).rename(folder / "weights.gguf")


def with_broken_index(folder: Path) -> None:
    in_shards(folder)
    cut(folder / f"{SAFE}.index.json")


BROKEN: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "LFS pointer": (
        lambda f: (f / SAFE).write_text(LFS),
        [SAFE, "Git LFS pointer", "git lfs pull"],
    ),
    "empty": (lambda f: (f / SAFE).write_bytes(b""), [SAFE, "is empty"]),
    "web page": (lambda f: (f / SAFE).write_text("<html>" * 99), [SAFE, "no safetensors file"]),
    "cut in its header": (lambda f: cut(f / SAFE, 0.01), [SAFE, "cut short"]),
    "cut in its data": (lambda f: cut(f / SAFE, 0.9), [SAFE, "cut short", "download it again"]),
    "longer": (
        lambda f: (f / SAFE).write_bytes((f / SAFE).read_bytes() + b"\0" * 9),
        [SAFE, "longer than its header says"],
    ),
    "a shard is missing": (shards_then(Path.unlink), ["1 of the 2 files", SHARD]),
    "a shard is cut": (shards_then(cut), [SHARD, "cut short"]),
    "broken index": (with_broken_index, ["model.safetensors.index.json", "no index"]),
    "other weights only": (without_weights, ["holds no weights", "weights.gguf"]),
    "LFS pointer of a .bin": (bin_then(lambda f: f.write_text(LFS)), ["pytorch_model.bin", "LFS"]),
    "a .bin is cut": (bin_then(cut), ["pytorch_model.bin", "cut short"]),
    "code in a .bin": (
        lambda f: as_bin(f, {"more": Harmful()}),
        ["cannot be loaded", "more than tensors", "safetensors"],
    ),
    "no pickle either": (bin_then(lambda f: f.write_text("<html>" * 9)), ["cannot be loaded"]),
    "pad id": (lambda f: set_config(f, pad_token_id=999), ["pad_token_id", "vocab_size"]),
    "a type": (lambda f: set_config(f, hidden_size="wide"), ["cannot be loaded", "hidden_size"]),
    "no quantiser": (
        lambda f: set_config(f, quantization_config={"quant_method": "hqq"}),
        ["cannot be loaded", "not installed", "HQQ"],
    ),
}


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


@pytest.mark.parametrize("name", BROKEN)
def test_loading_tells_the_cause_in_a_sentence(name: str, folder: Path) -> None:
    spoil, words = BROKEN[name]
    spoil(folder)
    with pytest.raises(UserError) as refused:
        load_model(ModelConfig(str(folder)), "float32", "cpu")
    told = str(refused.value)
    assert told.startswith(f"model.path={folder}") and "\n" not in told
    assert [word for word in words if word not in told] == [], told


@pytest.mark.parametrize("name", [name for name in BROKEN if name != "no quantiser"])
def test_it_is_told_before_anything_is_loaded(name: str, folder: Path) -> None:
    spoil, words = BROKEN[name]
    spoil(folder)
    with pytest.raises(UserError) as refused:
        check_weights(ModelConfig(str(folder)))
    assert [word for word in words if word not in str(refused.value)] == [], refused.value


def test_vllm_may_read_files_of_other_names(folder: Path) -> None:
    without_weights(folder)
    check_weights(ModelConfig(str(folder)), any_architecture=True)
    (folder / SAFE).write_text(LFS)
    with pytest.raises(UserError, match="LFS"):
        check_weights(ModelConfig(str(folder)), any_architecture=True)


def test_what_transformers_does_not_know_is_left_to_vllm(folder: Path) -> None:
    set_config(folder, model_type="no_such_type")
    check_weights(ModelConfig(str(folder)), any_architecture=True)
    with pytest.raises(UserError, match=r"does not know its architecture \(no_such_type\)"):
        check_weights(ModelConfig(str(folder)))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "bart"}, ["encoder-decoder", "bart"]),
        ({"model_type": "vit"}, ["no causal language model"]),
        (
            {"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}},
            ["modelling code", "model.trust_remote_code=true"],
        ),
    ],
)
def test_other_kinds_of_models(config: dict[str, object], words: list[str], folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError) as refused:
        check_weights(ModelConfig(str(folder)))
    assert [word for word in words if word not in str(refused.value)] == [], refused.value
