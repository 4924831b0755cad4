"""The fingerprint: whatever can change a candidate's numbers changes it, and nothing else does."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
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
from nuggets_ray.records import Anchor, Encoding
from nuggets_ray.score import fingerprint
from nuggets_ray.score.fingerprint import (
    anchors_fingerprint,
    anchors_rule,
    num_of_rule,
    settings_fingerprint,
)


def of_settings(config: Config, dtype: str = "float32") -> dict[str, Any]:
    tokenizer = load_tokenizer(config.model)
    return settings_fingerprint(config, make_prompt(tokenizer, config.prompt), tokenizer, dtype)


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    assert before.keys() == after.keys()
    return {key for key in before if before[key] != after[key]}


def test_the_rule_of_drawn_anchors_is_open_until_their_number_is_known(config: Config) -> None:
    known = of_settings(config)
    is_open = of_settings(replace(config, anchors=AnchorsConfig()))
    assert known.keys() - is_open.keys() == {"anchors_rule"}
    assert {**is_open, **anchors_rule(config.anchors, config.seed)} == known
    of_file = of_settings(replace(config, anchors=AnchorsConfig("file", path="/a.json")))
    assert of_file["anchors_rule"] == "file, num None"


def test_the_number_can_be_read_from_a_rule_of_the_same_method_and_seed() -> None:
    rule = anchors_rule(AnchorsConfig("kmeans", num=12), 3)["anchors_rule"]
    assert num_of_rule(rule, "kmeans", 3) == 12
    assert num_of_rule(rule, "random", 3) is num_of_rule(rule, "kmeans", 4) is None
    assert num_of_rule("", "random", 0) is None


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
        ({"anchors": AnchorsConfig(num=11)}, {"anchors_rule"}),
        ({"anchors": AnchorsConfig(num=10, method="kmeans")}, {"anchors_rule"}),
        ({"anchors": AnchorsConfig(num=10, method="file", path="/a.json")}, {"anchors_rule"}),
        ({"seed": 1}, {"anchors_rule"}),
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


def anchor(number: int, token_ids: list[int], answer_mask: list[bool]) -> Anchor:
    encoding = Encoding(np.array(token_ids, np.int64), np.array(answer_mask, bool))
    return Anchor(f"random-{number}", f"content-{number}", "random", "text", encoding)


def test_the_anchors_contents_and_their_order() -> None:
    one, two = anchor(0, [1, 2, 3], [False, True, True]), anchor(1, [4, 5], [False, True])
    lists = [
        [one, two],
        [two, one],
        [one],
        [one, anchor(1, [4, 6], [False, True])],
        [one, anchor(1, [4, 5], [True, True])],
        [one, two, two],
    ]
    found = [anchors_fingerprint(anchors)["anchors"] for anchors in lists]
    assert len(set(found)) == len(lists)
    same = [replace(one, anchor_id="file-0", anchor_set="file", text=""), two]
    assert anchors_fingerprint(same)["anchors"] == found[0]


def test_the_border_between_two_anchors_counts() -> None:
    joined = [anchor(0, [1, 2, 3, 4], [False, True, False, True])]
    apart = [anchor(0, [1, 2], [False, True]), anchor(1, [3, 4], [False, True])]
    assert anchors_fingerprint(joined) != anchors_fingerprint(apart)
