"""What is trained on, by which model and prompt, before anything that takes long is started."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from scored_run import choose, finished_run

from nuggets_ray import io
from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import Config, DataConfig, ModelConfig, PromptConfig
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.answer_end import AnswerEnd
from nuggets_ray.finetune.source import check_source, find_source, prompts
from nuggets_ray.io import write_json
from nuggets_ray.model.load import load_tokenizer
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.run.job_configs import write_config
from nuggets_ray.run.layout import RunFolder


@pytest.fixture
def out_dir(tmp_path: Path, tiny_model: Path) -> str:
    """A run scored in the official prompt, with a selection."""
    out_dir = finished_run(str(tmp_path / "run"))
    choose(out_dir)
    scored = Config(
        out_dir,
        data=DataConfig("/data/rows.jsonl", columns={"instruction": "q"}),
        model=ModelConfig(str(tiny_model)),
        prompt=PromptConfig("official"),
    )
    write_config(out_dir, "score", scored)
    fingerprint = {"dtype": "bfloat16", "template": "official abc"}
    write_json(
        RunFolder(out_dir).manifest,
        {"schema_version": 1, "data_format": "sharegpt", "fingerprint": fingerprint},
    )
    return out_dir


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "my.rows.jsonl"
    path.write_text('{"instruction": "q", "output": "a"}\n')
    return path


def on_selection(out_dir: str, **finetune: Any) -> Config:
    return Config(out_dir, finetune=FinetuneConfig(selection="golden", **finetune))


def test_a_selection_is_read_as_its_run_was(out_dir: str, tiny_model: Path) -> None:
    source = find_source(on_selection(out_dir))
    assert (source.name, source.selection) == ("golden", "golden")
    assert source.description == "selection golden"
    assert [file.path for file in source.files] == [RunFolder(out_dir).selection("golden").jsonl]
    assert source.model.path == str(tiny_model), "of the scoring, where none is given"
    assert source.prompt == PromptConfig("alpaca"), "official is for scores"
    assert source.limit is None and source.max_tokens == 4096
    assert source.score == {
        "dtype": "bfloat16",
        "template": "official abc",
        "data": "/data/rows.jsonl",
    }


def test_rows_of_one_s_own(out_dir: str, rows: Path, tiny_model: Path) -> None:
    config = Config(out_dir, data=DataConfig(str(rows), limit=3))
    source = find_source(config)
    assert (source.name, source.selection, source.score) == ("my", None, None)
    assert (source.description, source.limit) == (str(rows), 3)
    named = find_source(replace(config, finetune=FinetuneConfig(name="mine")))
    assert named.name == "mine"
    demo = find_source(replace(config, data=DataConfig("demo")))
    assert demo.description == "demo" and len(demo.files) == 1


def test_a_shorter_row_than_the_context_may_be_asked_for(out_dir: str) -> None:
    assert find_source(on_selection(out_dir, max_row_tokens=100)).max_tokens == 100
    with pytest.raises(UserError, match="finetune.max_row_tokens=5000: .*4096 tokens: lower it"):
        find_source(on_selection(out_dir, max_row_tokens=5000))


def test_what_is_missing_is_told(out_dir: str, rows: Path, tmp_path: Path) -> None:
    other = Config(out_dir, finetune=FinetuneConfig(selection="best"))
    with pytest.raises(UserError, match="finetune.selection=best: .*there are: golden"):
        find_source(other)
    with pytest.raises(UserError, match="finetune.selection is missing"):
        find_source(Config(out_dir))
    with pytest.raises(UserError, match="model.path is missing"):
        find_source(Config(str(tmp_path / "new"), data=DataConfig(str(rows))))
    with pytest.raises(UserError, match="finetune.name='a/b' is no folder name"):
        find_source(on_selection(out_dir, name="a/b"))


def test_rows_are_cut_to_leave_room_for_the_prompt(tiny_model: Path) -> None:
    model, config = ModelConfig(str(tiny_model)), PromptConfig("alpaca")
    whole = make_prompt(load_tokenizer(model), config)
    prompt, limited, end = prompts(model, config, 64)
    assert prompt.fingerprint == whole.fingerprint
    assert end == AnswerEnd(load_tokenizer(model).eos_token_id, is_inserted=True)
    assert limited.fingerprint != whole.fingerprint
    prompt, limited, _ = prompts(model, config, None)
    assert limited is prompt


def test_a_folder_that_is_no_run_is_not_blamed_on_the_model(tmp_path: Path) -> None:
    given = Config(str(tmp_path), finetune=FinetuneConfig(selection="golden"))
    with pytest.raises(UserError, match="^finetune.selection=golden: out_dir=.* no such selection"):
        check_source(given)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"eval_steps": 5}, "finetune.eval_steps=5: no row is held out.*data.holdout"),
        ({"export": "best"}, "finetune.export=best: no row is held out"),
    ],
)
def test_a_loss_on_held_out_rows_needs_some(
    keys: dict[str, Any], words: str, rows: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out_dir = str(tmp_path / "new")
    model, trained = ModelConfig(str(tiny_model)), FinetuneConfig(**keys)
    config = Config(out_dir, data=DataConfig(str(rows)), model=model, finetune=trained)
    for check in (check_source, find_source):
        with pytest.raises(UserError, match=words):
            check(config)
    drawn = replace(config, data=replace(config.data, holdout=1))
    check_source(drawn)
    held_out = pa.table({"content_id": ["a"]})
    io.write_table(RunFolder(out_dir).held_out, held_out)
    check_source(config)
    io.write_table(RunFolder(out_dir).held_out, held_out.slice(1))
    with pytest.raises(UserError, match=words):
        check_source(drawn)
