"""Everything that is written is as open as the user's umask says: no more, no less."""

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from tiny_models import make_model

from nuggets_ray import io
from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.demo import files
from nuggets_ray.finetune.engine import TAG
from nuggets_ray.finetune.export import export_weights
from nuggets_ray.umask import follow_umask


@pytest.fixture(params=[0o022, 0o027, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def rights(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.rglob("*")}


def test_tables_and_the_demo_s_rows(umask: int, tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "out"
    io.write_bytes(str(folder / "a.json"), b"{}")
    io.write_table(str(folder / "a.parquet"), pa.table({"a": [1]}))
    monkeypatch.setenv("NUGGETS_CACHE", str(folder))
    files.candidates_path()
    assert len(rights(folder)) == 3
    assert set(rights(folder).values()) == {0o666 & ~umask}


@pytest.mark.parametrize("more", [{}, {"method": "lora"}, {"method": "lora", "lora_merge": True}])
def test_exported_weights(umask: int, tmp_path: Path, more: dict) -> None:
    base = tmp_path / "base"
    model = make_model("llama")
    model.save_pretrained(base)
    config = FinetuneConfig(**more)
    trained = model.state_dict()
    if config.method == "lora":
        from peft import get_peft_model

        from nuggets_ray.finetune.engine import lora_config

        trained = (
            get_peft_model(model, lora_config(config, model.config)).get_base_model().state_dict()
        )
    checkpoint = tmp_path / "checkpoint"
    (checkpoint / TAG).mkdir(parents=True)
    torch.save({"module": trained}, checkpoint / TAG / "mp_rank_00_model_states.pt")
    out = tmp_path / "out"
    export_weights(ModelConfig(path=str(base)), config, "float32", str(checkpoint), str(out))
    assert any(name.endswith(".safetensors") for name in rights(out))
    assert set(rights(out).values()) == {0o666 & ~umask}


def test_who_may_execute_a_file_stays_and_links_are_left_alone(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "folder"
    folder.mkdir()
    elsewhere.touch(0o600)
    (folder / "script").touch(0o700)
    (folder / "link").symlink_to(elsewhere)
    follow_umask(folder)
    assert (folder / "script").stat().st_mode & 0o111 == 0o100
    assert elsewhere.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in folder.iterdir()) == ["link", "script"]


def test_a_file_system_that_refuses_chmod_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    (tmp_path / "model.safetensors").touch(0o600)
    monkeypatch.setattr(Path, "chmod", refuse)
    follow_umask(tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_mode & 0o777 == 0o600
