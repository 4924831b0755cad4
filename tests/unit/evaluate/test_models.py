"""Which models are evaluated, by which prompt, and the sentence for each that cannot be."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import Config, DataConfig, ModelConfig, PromptConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate import models
from nuggets_ray.evaluate.models import (
    EvalModel,
    check_models,
    find_models,
    run_prompt,
    training_data,
)
from nuggets_ray.run.job_configs import write_config

CHAT, ALPACA, AUTO = PromptConfig("chat"), PromptConfig("alpaca"), PromptConfig()
NO_MODEL = ModelConfig()


def make_folder(path: Path, **files: dict[str, Any]) -> Path:
    """A folder with a JSON file for each keyword."""
    path.mkdir(parents=True)
    for name, content in files.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return path


def make_run(folder: Path, base: Path, *names: str, template: str = "auto") -> str:
    """A run that was scored with `base` and holds the models of these names."""
    out_dir = str(folder / "run")
    config = Config(out_dir, model=ModelConfig(str(base)), prompt=PromptConfig(template))
    write_config(out_dir, "score", config)
    for name in names:
        make_folder(folder / "run" / "models" / name, config={}, finetune={})
    return out_dir


def find(
    out_dir: str, *names: str, model: ModelConfig = NO_MODEL, prompt: PromptConfig = AUTO
) -> list[EvalModel]:
    return find_models(out_dir, names, model, prompt)


def test_base_and_every_model_of_the_run(tmp_path: Path, tiny_model: Path) -> None:
    out_dir = make_run(tmp_path, tiny_model, "random-0", "golden", template="chat")
    make_folder(tmp_path / "run" / "models" / "half", config={})  # no finetune.json: not whole
    assert find(out_dir) == [
        EvalModel("base", ModelConfig(str(tiny_model)), CHAT),
        EvalModel("golden", ModelConfig(f"{out_dir}/models/golden"), CHAT),
        EvalModel("random-0", ModelConfig(f"{out_dir}/models/random-0"), CHAT),
    ]
    assert [model.name for model in find(out_dir, "golden", "base")] == ["golden", "base"]


def test_each_model_named_is_looked_for(tmp_path: Path, tiny_model: Path) -> None:
    out_dir = make_run(tmp_path, tiny_model, "golden")
    check_models(out_dir, ["base", "golden"], ModelConfig())
    check_models(out_dir, [], ModelConfig())
    with pytest.raises(UserError, match="evaluate.models=random-0: "):
        check_models(out_dir, ["base", "random-0"], ModelConfig())


def test_a_model_given_is_the_base(tmp_path: Path, tiny_model: Path) -> None:
    out_dir = make_run(tmp_path, tmp_path / "gone")
    [base] = find(out_dir, "base", model=ModelConfig(str(tiny_model), revision="r"))
    assert base.model == ModelConfig(str(tiny_model), revision="r")
    with pytest.raises(UserError, match="model.path=.*gone does not exist"):
        find(out_dir)
    with pytest.raises(UserError, match="model.path is missing"):
        find(str(tmp_path / "empty"))


def test_the_base_of_a_run_that_only_trained(tmp_path: Path, tiny_model: Path) -> None:
    out_dir = str(tmp_path / "run")
    make_folder(tmp_path / "run" / "models" / "rows", config={}, finetune={})
    write_config(out_dir, "finetune-rows", Config(out_dir, model=ModelConfig(str(tiny_model))))
    assert find(out_dir)[0] == EvalModel("base", ModelConfig(str(tiny_model)), ALPACA)


def test_any_folder(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out_dir = make_run(tmp_path, tiny_model, template="chat")
    folder = make_folder(tmp_path / "my model (1)", config={})
    expected = EvalModel("my-model-1-", ModelConfig(str(folder)), PromptConfig())
    assert find(out_dir, f"{folder}/") == [expected]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find(out_dir, "~/my model (1)") == [expected]
    monkeypatch.chdir(tmp_path)
    assert find(out_dir, os.path.join(".", "my model (1)")) == [expected]
    official = PromptConfig("official", max_anchor_tokens=3)
    [found] = find(out_dir, str(folder), prompt=official)
    assert found.prompt == PromptConfig("alpaca"), "answers are no scores, and nothing is cut"


def test_an_adapter_comes_with_its_base(tmp_path: Path, tiny_model: Path) -> None:
    out_dir = make_run(tmp_path, tiny_model)
    folder = make_folder(
        tmp_path / "run" / "models" / "golden",
        finetune={},
        adapter_config={"base_model_name_or_path": str(tiny_model), "revision": "r"},
    )
    [found] = find(out_dir, "golden")
    model = ModelConfig(str(tiny_model), "r", adapter_path=str(folder))
    assert found == EvalModel("golden", model, ALPACA)
    for stage, choice in (("score", "file"), ("finetune-golden", "transformers")):
        chosen = ModelConfig(str(tiny_model), tokenizer=choice)
        write_config(out_dir, stage, Config(out_dir, model=chosen))
        [found] = find(out_dir, "golden")
        assert found.model.tokenizer == choice, "its ids are those it was trained with"


def test_a_model_that_is_not_there(tmp_path: Path, tiny_model: Path) -> None:
    out_dir = make_run(tmp_path, tiny_model, "golden", "random-0")
    with pytest.raises(UserError, match="evaluate.models=randm-0: .* base, golden, random-0"):
        find(out_dir, "base", "randm-0")
    with pytest.raises(UserError, match="evaluate.models=/no/model does not exist"):
        find(out_dir, "/no/model")


def test_a_name_stands_for_one_model(tmp_path: Path, tiny_model: Path) -> None:
    out_dir = make_run(tmp_path, tiny_model, "golden")
    with pytest.raises(UserError, match="names golden twice"):
        find(out_dir, "golden", "base", "golden")
    one = make_folder(tmp_path / "a" / "same", config={})
    other = make_folder(tmp_path / "b" / "same", config={})
    with pytest.raises(UserError, match="two models would be called same"):
        find(out_dir, str(one), str(other))
    # its numbers would take the place of the run's own, and it would be judged as golden
    foreign = make_folder(tmp_path / "other run" / "golden", config={})
    with pytest.raises(UserError, match="would be called golden"):
        find(out_dir, str(foreign))


def test_a_run_in_an_object_store_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "trained_models", lambda out_dir: ["golden"])
    with pytest.raises(UserError, match="s3://bucket/run/models/golden is on an object store"):
        find("s3://bucket/run", "golden")


@pytest.mark.parametrize(
    ("scored", "given", "expected"),
    [
        ("chat", "auto", "chat"),
        ("auto", "auto", "alpaca"),  # the base has no chat template
        ("chat", "alpaca", "alpaca"),
        ("official", "auto", "alpaca"),
        ("chat", "official", "alpaca"),
    ],
)
def test_the_prompt_is_that_of_the_run(
    tmp_path: Path, tiny_model: Path, scored: str, given: str, expected: str
) -> None:
    out_dir = make_run(tmp_path, tiny_model, template=scored)
    prompt = PromptConfig(given, max_anchor_tokens=3)
    assert run_prompt(out_dir, NO_MODEL, prompt) == PromptConfig(expected)


def test_files_that_were_trained_on(tmp_path: Path, tiny_model: Path) -> None:
    out_dir = make_run(tmp_path, tiny_model)
    trained: list[tuple[str, str | None, str | int]] = [
        *(("a", None, "hash"), ("b", None, "hash"), ("c", None, 4), ("golden", "golden", "hash")),
    ]
    for name, selection, held_out in trained:
        done: dict[str, Any] = {"settings": {"held_out": held_out}}
        if name == "c":
            done["settings"]["rows"] = {"sha256": ["x", "y"]}
        make_folder(tmp_path / "run" / "models" / name, finetune=done)
        finetune = FinetuneConfig(selection=selection)
        config = Config(out_dir, data=DataConfig("rows.jsonl"), finetune=finetune)
        write_config(out_dir, f"finetune-{name}", config)
    found = training_data(out_dir)
    assert [(one.data.path, one.leaves_out, one.sha256) for one in found] == [
        *(("rows.jsonl", "hash", ()), ("rows.jsonl", None, ("x", "y"))),
    ]


def test_adapter_trained_before_model_tokenizer_keeps_the_ids_of_transformers(
    tmp_path: Path, tiny_model: Path
) -> None:
    (tmp_path / "config").mkdir()
    for stage, path in (("finetune-golden", ""), ("score", tiny_model)):
        text = f"model: {{path: '{path}', revision: null, trust_remote_code: false}}\n"
        text += "prompt: {template: alpaca}\ndata: {}\nscore: {}\n"
        (tmp_path / "config" / f"{stage}.yaml").write_text(text)
    adapter = {"base_model_name_or_path": str(tiny_model)}
    make_folder(tmp_path / "models" / "golden", adapter_config=adapter, finetune={})
    [golden] = find(str(tmp_path), "golden")
    assert golden.model.tokenizer == "transformers"
    assert golden.model.adapter_path == str(tmp_path / "models" / "golden")
