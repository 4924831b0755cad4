"""Whether two models are the same: what of a folder counts, and what does not."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.model import identity
from nuggets_ray.model.identity import tokenizer_fingerprint, weights_fingerprint
from nuggets_ray.model.load import load_tokenizer


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> ModelConfig:
    """The tiny model in a folder that a test may change."""
    return ModelConfig(str(shutil.copytree(tiny_model, tmp_path / "model")))


def weights_of(model: ModelConfig) -> str:
    return weights_fingerprint(model)


def overwrite(path: Path, place: int, replacement: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[place : place + len(replacement)] = replacement
    path.write_bytes(data)


def test_edges_of_large_weight_files_are_read_and_their_middle_is_not(
    folder: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "EDGE_BYTES", 64)
    path = Path(folder.path, "model.safetensors")
    size = path.stat().st_size
    before = weights_of(folder)
    for place, is_seen in ((63, True), (64, False), (size - 65, False), (size - 64, True)):
        original = path.read_bytes()
        overwrite(path, place, bytes([original[place] ^ 1]))
        assert (weights_of(folder) != before) == is_seen, place
        path.write_bytes(original)


def test_ignore_keys_count_where_there_are_any(folder: ModelConfig) -> None:
    ignoring = replace(folder, ignore_keys=["lm_head"])
    assert "lm_head" in weights_of(ignoring)
    # without any it is what folders scored before they were a key hold
    assert weights_of(folder) == weights_of(ignoring)[:16]


def test_an_adapter_counts_where_it_is_put_over_the_weights(
    folder: ModelConfig, tmp_path: Path
) -> None:
    (tmp_path / "adapter").mkdir()
    settings = tmp_path / "adapter" / "adapter_config.json"
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(b"1")
    settings.write_text(json.dumps({"base_model_name_or_path": folder.path, "lora_alpha": 4}))
    alone, over = (
        ModelConfig(str(settings.parent)),
        replace(folder, adapter_path=str(settings.parent)),
    )
    before = weights_of(folder)
    first = weights_of(over)
    assert weights_of(alone) == first, "given alone or over its base, it is the same model"
    settings.write_text(settings.read_text().replace("4", "8"))
    second = weights_of(over)
    weights.write_bytes(b"2")
    assert len({before, first, second, weights_of(over)}) == 4
    for file in (settings, weights):
        shutil.copy(file, folder.path)
    assert weights_of(folder) == before, "beside the weights it is left out"


def test_modelling_code_counts_where_it_runs(folder: ModelConfig) -> None:
    trusting = replace(folder, trust_remote_code=True)
    before = weights_of(folder), weights_of(trusting)
    Path(folder.path, "modeling_own.py").write_text("SCALE = 2\n")
    assert weights_of(folder) == before[0]
    assert weights_of(trusting) != before[1]


def test_a_hub_model_is_its_commit_online_and_in_the_hub_s_cache(
    folder: ModelConfig, tmp_path: Path
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--some--model" / "snapshots" / commit
    shutil.copytree(folder.path, snapshot)
    assert weights_of(ModelConfig(path=str(snapshot))) == f"some/model@{commit}"


def test_a_tokenizer_is_its_vocabulary(folder: ModelConfig) -> None:
    tokenizer = load_tokenizer(folder)
    before = tokenizer_fingerprint(tokenizer)
    assert tokenizer_fingerprint(load_tokenizer(folder)) == before
    tokenizer.chat_template = "{{ messages }}"
    assert tokenizer_fingerprint(tokenizer) == before, "the template has a hash of its own"
    tokenizer.add_tokens(["word"])
    assert tokenizer_fingerprint(tokenizer) != before
