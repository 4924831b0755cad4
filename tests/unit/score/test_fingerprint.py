"""The fingerprint: whatever can change a candidate's numbers changes it, and nothing else does."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nuggets_ray.config.schema import (
    AnchorsConfig,
    ClusterConfig,
    Config,
    DataConfig,
    ModelConfig,
    PromptConfig,
    ScoreConfig,
    SelectConfig,
)
from nuggets_ray.model.load import load_tokenizer
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.score import fingerprint
from nuggets_ray.score.fingerprint import settings_fingerprint


def of_settings(config: Config, dtype: str = "float32") -> dict[str, Any]:
    tokenizer = load_tokenizer(config.model)
    return settings_fingerprint(config, make_prompt(tokenizer, config.prompt), tokenizer, dtype)


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    assert before.keys() == after.keys()
    return {key for key in before if before[key] != after[key]}


@pytest.fixture
def config(tiny_model: Path) -> Config:
    return Config(
        out_dir="/runs/a",
        model=ModelConfig(path=str(tiny_model)),
        data=DataConfig(path="/data/a.jsonl"),
        anchors=AnchorsConfig(num=10),
    )


@pytest.fixture
def copied(config: Config, tmp_path: Path) -> Config:
    """The same model in a folder that a test may change."""
    folder = tmp_path / "model"
    shutil.copytree(config.model.path, folder)
    return replace(config, model=ModelConfig(path=str(folder)))


def test_values_can_be_written_to_the_manifest_and_read_again(config: Config) -> None:
    settings = of_settings(config)
    assert json.loads(json.dumps(settings)) == settings == of_settings(config)


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        ({"prompt": PromptConfig(template="official")}, {"template"}),
        ({"prompt": PromptConfig(max_demonstration_tokens=99)}, {"template"}),
        ({"prompt": PromptConfig(max_anchor_tokens=99)}, {"template"}),
        ({"data": DataConfig(on_too_long="truncate")}, {"on_too_long"}),
        ({"score": ScoreConfig(backend="vllm")}, {"backend"}),
        (
            {"score": ScoreConfig(backend="vllm", vllm={"quantization": "fp8"})},
            {"backend", "backend_arguments"},
        ),
    ],
)
def test_settings_that_change_a_candidate_s_numbers(
    change: dict[str, Any], keys: set[str], config: Config
) -> None:
    assert changed(of_settings(config), of_settings(replace(config, **change))) == keys


def test_the_dtype_and_the_version_of_the_score_code(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = of_settings(config)
    assert changed(before, of_settings(config, "bfloat16")) == {"dtype"}
    monkeypatch.setattr(fingerprint, "SCORE_VERSION", fingerprint.SCORE_VERSION + 1)
    assert changed(before, of_settings(config)) == {"score_version"}


def test_auto_is_the_template_it_stands_for(config: Config) -> None:
    named = replace(config, prompt=PromptConfig(template="alpaca"))
    assert changed(of_settings(config), of_settings(named)) == set()


@pytest.mark.parametrize(
    "change",
    [
        {"out_dir": "/runs/b"},
        {"progress_s": 1.0},
        {"data": DataConfig(path="/data/b.jsonl", limit=5, holdout=3, excerpt_chars=0)},
        {"score": ScoreConfig(max_pack_tokens=64, block_rows=2, block_s=1.0)},
        {"cluster": ClusterConfig(num_workers=7, address="local", cpus_per_worker=2)},
        {"select": SelectConfig(rule="top_k", k=3)},
        {"anchors": AnchorsConfig(num=10, exclude_from_candidates=True)},
        {"anchors": AnchorsConfig(num=11, method="kmeans"), "seed": 1},
    ],
)
def test_settings_that_do_not(change: dict[str, Any], config: Config) -> None:
    assert changed(of_settings(config), of_settings(replace(config, **change))) == set()


def test_arguments_of_vllm_that_change_speed_only(config: Config) -> None:
    before = replace(config, score=ScoreConfig(backend="vllm"))
    arguments = {"tensor_parallel_size": 4, "gpu_memory_utilization": 0.5, "max_num_seqs": 9}
    after = replace(config, score=ScoreConfig(backend="vllm", vllm=arguments))
    assert changed(of_settings(before), of_settings(after)) == set()


def test_the_seed_draws_no_anchors_from_a_file(config: Config) -> None:
    config = replace(config, anchors=AnchorsConfig(method="file", path="/anchors.json"))
    assert changed(of_settings(config), of_settings(replace(config, seed=1))) == set()


def overwrite(path: Path, place: int, replacement: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[place : place + len(replacement)] = replacement
    path.write_bytes(data)


def change_first_byte(folder: Path) -> None:
    overwrite(folder / "model.safetensors", 0, b"\xff")


def change_last_byte(folder: Path) -> None:
    path = folder / "model.safetensors"
    overwrite(path, path.stat().st_size - 1, bytes([path.read_bytes()[-1] ^ 1]))


def append_byte(folder: Path) -> None:
    with open(folder / "model.safetensors", "ab") as file:
        file.write(b"\0")


def change_config(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"rms_norm_eps": 0.1}))


def rename_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")


def add_weights(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"")


@pytest.mark.parametrize(
    "change",
    [
        *(change_first_byte, change_last_byte, append_byte),
        *(change_config, rename_weights, add_weights),
    ],
)
def test_other_weights(change: Callable[[Path], None], copied: Config) -> None:
    before = of_settings(copied)
    change(Path(copied.model.path))
    assert changed(before, of_settings(copied)) == {"weights"}


def test_the_same_weights_elsewhere_and_other_files_beside_them(
    config: Config, copied: Config
) -> None:
    Path(copied.model.path, "README.md").write_text("what this is")
    assert changed(of_settings(config), of_settings(copied)) == set()


def test_keys_that_are_ignored_are_other_weights(config: Config) -> None:
    ignoring = replace(config, model=replace(config.model, ignore_keys=["lm_head"]))
    assert changed(of_settings(config), of_settings(ignoring)) == {"weights"}


def test_another_tokenizer(copied: Config) -> None:
    before = of_settings(copied)
    tokenizer = load_tokenizer(copied.model)
    tokenizer.add_tokens(["word"])
    tokenizer.save_pretrained(copied.model.path)
    # the template's hash says how text becomes ids, so it changes too
    assert changed(before, of_settings(copied)) == {"tokenizer", "template"}


def test_another_chat_template(copied: Config) -> None:
    tokenizer = load_tokenizer(copied.model)

    def with_template(end: str) -> dict[str, Any]:
        tokenizer.chat_template = (
            "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}"
            + end
            + "{% endfor %}"
        )
        prompt = make_prompt(tokenizer, PromptConfig())
        assert prompt.name == "chat"
        return settings_fingerprint(copied, prompt, tokenizer, "float32")

    assert changed(with_template("\n"), with_template("<end>\n")) == {"template"}
