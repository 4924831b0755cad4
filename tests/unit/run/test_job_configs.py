"""config/<job>.yaml: what is written is what is read, and a later job must not differ."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from nuggets_ray.config.schema import Config, DataConfig, ModelConfig, PromptConfig
from nuggets_ray.errors import UserError
from nuggets_ray.run.job_configs import (
    check_same_run,
    read_config,
    scored_config,
    taken_from_run,
    write_config,
)
from nuggets_ray.run.layout import RunFolder


@pytest.fixture
def scored(tmp_path: Path) -> Config:
    config = Config(
        str(tmp_path / "run"),
        data=DataConfig("/data/r\u00e9sum\u00e9s.jsonl", limit=7),
        model=ModelConfig("/models/m"),
        prompt=PromptConfig("alpaca"),
    )
    write_config(config.out_dir, "score", config)
    return config


def test_the_sections_of_the_scoring_come_back(scored: Config) -> None:
    again = scored_config(scored.out_dir)
    assert again is not None
    assert (again.model, again.prompt, again.score) == (scored.model, scored.prompt, scored.score)
    assert scored_config(f"{scored.out_dir}/nowhere") is None


def test_what_is_written_is_what_is_read(scored: Config) -> None:
    assert read_config(scored.out_dir, "score") == asdict(scored)
    assert "r\u00e9sum\u00e9s" in Path(RunFolder(scored.out_dir).config("score")).read_text("utf-8")
    assert read_config(scored.out_dir, "evaluate") is None
    write_config(scored.out_dir, "score", replace(scored, seed=3))
    assert (read_config(scored.out_dir, "score") or {})["seed"] == 3


def test_what_is_not_given_is_what_the_run_was_scored_with(scored: Config) -> None:
    later = Config(scored.out_dir, model=ModelConfig("/models/m"), seed=5)
    check_same_run(later)
    check_same_run(Config(scored.out_dir + "-that-never-ran", model=ModelConfig("/other")))
    with pytest.raises(UserError, match="model.path=/other: .*was scored with /models/m"):
        check_same_run(replace(later, model=ModelConfig("/other")))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"prompt": PromptConfig("official")}, "prompt.template=official: .*with alpaca"),
        ({"data": DataConfig(limit=8)}, "data.limit=8: .*with 7; leave it out, or .*out_dir"),
    ],
)
def test_another_value_is_told_by_its_key(
    scored: Config, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        check_same_run(replace(Config(scored.out_dir), **given))


def test_a_key_that_came_later_had_its_default(scored: Config) -> None:
    path = Path(RunFolder(scored.out_dir).config("score"))
    content = yaml.safe_load(path.read_text("utf-8"))
    del content["data"]["retry"]
    path.write_text(yaml.safe_dump(content), "utf-8")
    check_same_run(Config(scored.out_dir))
    with pytest.raises(UserError, match=r"data.retry=\[\]"):
        check_same_run(Config(scored.out_dir, data=DataConfig(retry=[])))


def test_what_is_open_is_taken_from_the_run(scored: Config) -> None:
    taken = taken_from_run(scored.out_dir, ModelConfig(), PromptConfig())
    assert taken["model.path"] == "/models/m" and taken["model.revision"] is None
    assert taken["prompt.template"] == "alpaca" and "data.path" not in taken
    given = taken_from_run(scored.out_dir, ModelConfig("/other"), PromptConfig("chat"))
    assert given == {}
    for nowhere in ("", scored.out_dir + "-that-never-ran"):
        assert taken_from_run(nowhere, ModelConfig(), PromptConfig()) == {}


@pytest.mark.parametrize("gone", ["prompt", "prompt.template", "model", "score"])
def test_a_file_without_what_every_job_writes_is_damaged(scored: Config, gone: str) -> None:
    path = Path(RunFolder(scored.out_dir).config("score"))
    content = yaml.safe_load(path.read_text("utf-8"))
    section, _, key = gone.partition(".")
    del (content[section] if key else content)[key or section]
    path.write_text(yaml.safe_dump(content), "utf-8")
    with pytest.raises(UserError, match=r"score\.yaml is damaged"):
        check_same_run(Config(scored.out_dir))
    with pytest.raises(UserError, match=r"score\.yaml is damaged"):
        scored_config(scored.out_dir)
