"""The rows to compare on, and what they must not be in: the run's own, or a file."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from nuggets_ray import io
from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import AnchorsConfig, Config, DataConfig, EvaluateConfig
from nuggets_ray.data.examples import Rules
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.likelihood.overlap import find_overlaps, text_row
from nuggets_ray.evaluate.likelihood.rows import (
    HeldRows,
    read_held_rows,
    training_sources,
)
from nuggets_ray.io import write_json
from nuggets_ray.run.job_configs import write_config

ALPACA = Rules("alpaca")


def read_held(config: Config) -> HeldRows:
    return read_held_rows(config.out_dir, config.evaluate, config.data)


def row(number: int, **more: str) -> dict[str, str]:
    text = " ".join(f"word{number}-{i}" for i in range(12))
    return {"instruction": f"Say {number}.", "output": text, **more}


def write_rows(path: Path, rows: list[dict[str, str]], *lines: str) -> Path:
    path.write_text("\n".join([*map(json.dumps, rows), *lines]), encoding="utf-8")
    return path


def write_table(uri: str, rows: list[dict[str, str]]) -> None:
    content = [ALPACA.parse(dict(r)).content_id for r in rows]
    columns = {
        "example_id": content,
        "content_id": content,
        "row_json": [json.dumps(r) for r in rows],
    }
    io.write_table(uri, pa.table(columns))


@pytest.fixture
def out_dir(tmp_path: Path) -> str:
    """A scored run of Alpaca rows."""
    out_dir = str(tmp_path / "run")
    write_config(out_dir, "score", Config(out_dir, data=DataConfig("rows.jsonl")))
    manifest = {"schema_version": 1, "stages": {}, "data_format": "alpaca"}
    write_json(io.join(out_dir, "manifest.json"), manifest)
    return out_dir


def config(out_dir: str, **evaluate: Any) -> Config:
    return Config(out_dir, evaluate=EvaluateConfig(**evaluate))


def test_the_run_s_own_rows(out_dir: str) -> None:
    rows = [row(0), row(1, category="poem"), row(0), row(2, task="sum", dataset="koala")]
    write_table(io.join(out_dir, "holdout.parquet"), rows)
    found = read_held(config(out_dir))
    assert [held.category for held in found.rows] == [None, "poem", "koala"]
    examples = [ALPACA.parse(dict(rows[i])) for i in (0, 1, 3)]
    assert [held.example for held in found.rows] == examples
    assert [held.example_id for held in found.rows] == [e.content_id for e in examples]
    assert found.skipped == {"duplicate": 1}
    assert found.path == io.join(out_dir, "holdout.parquet")
    assert len(read_held(config(out_dir, limit=2)).rows) == 2


def test_a_file_goes_before_and_bad_rows_are_counted(out_dir: str, tmp_path: Path) -> None:
    write_table(io.join(out_dir, "holdout.parquet"), [row(0)])
    rows = [{"instruction": "no answer", "output": " "}, *map(row, range(30))]
    path = write_rows(tmp_path / "held.jsonl", rows, "{broken", "[1]", json.dumps(row(3)))
    found = read_held(config(out_dir, held_out_path=str(path)))
    assert len(found.rows) == 30
    assert found.skipped == {
        **{"empty_answer": 1, "invalid_json": 1, "not_an_object": 1, "duplicate": 1}
    }
    assert found.path == str(path)
    limited = read_held(config(out_dir, held_out_path=str(path), limit=3))
    assert (len(limited.rows), limited.skipped) == (2, {"empty_answer": 1})


def test_a_file_needs_no_run(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    path = write_rows(tmp_path / "held.jsonl", [{"messages": messages}])  # type: ignore[list-item]
    [held] = read_held(config(str(tmp_path / "none"), held_out_path=str(path))).rows
    assert [message.text for message in held.example.messages] == ["Hi", "Ho"]
    demo = read_held(config(str(tmp_path / "none"), held_out_path="demo"))
    assert len(demo.rows) > 10 and not demo.skipped


def test_no_rows_at_all(out_dir: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="evaluate.held_out_path is missing: .*data.holdout=N"):
        read_held(config(out_dir))
    with pytest.raises(UserError, match=r"evaluate.held_out_path=.*none.jsonl: there is no such"):
        read_held(config(out_dir, held_out_path=str(tmp_path / "none.jsonl")))
    write_table(io.join(out_dir, "holdout.parquet"), [])
    with pytest.raises(UserError, match="evaluate.held_out_path is missing: .*data.holdout=N"):
        read_held(config(out_dir))  # the table that a run writes where it holds nothing out


def twins(out_dir: str, rows: list[dict[str, str]]) -> list[tuple[int, str]]:
    """(number of the row, where its twin is)"""
    texts = [text_row(str(i), ALPACA.parse(dict(r))) for i, r in enumerate(rows)]
    found = find_overlaps(texts, training_sources(out_dir))
    return [(int(overlap.example_id), overlap.source) for overlap in found]


def test_candidates_are_training_rows(out_dir: str) -> None:
    assert twins(out_dir, [row(0), row(1)]) == []
    write_table(io.join(out_dir, "candidates", "part-00000.parquet"), [row(5), row(1)])
    assert twins(out_dir, [row(0), row(1)]) == [(1, "candidates")]


def test_anchors_of_every_file_are_training_rows(out_dir: str, tmp_path: Path) -> None:
    paths = [write_rows(tmp_path / f"{i}.jsonl", [row(i)]) for i in range(2)]
    sets = {"maths": {"path": str(paths[0])}, "writing": {"path": str(paths[1])}, "drawn": {}}
    for anchors in (
        AnchorsConfig(sets=sets),
        AnchorsConfig(method="file", num=None, path=str(paths[0])),
    ):
        write_config(out_dir, "score", Config(out_dir, anchors=anchors))
        num = 2 if anchors.sets else 1
        expected = [(number, "anchors") for number in range(num)]
        assert twins(out_dir, [row(number) for number in range(3)]) == expected


def train_on_all(out_dir: str, name: str, path: Path, held_out: str | int, *hashes: str) -> None:
    settings = {"settings": {"held_out": held_out, "rows": {"sha256": hashes}}}
    write_json(io.join(out_dir, "models", name, "finetune.json"), settings)
    data, finetune = DataConfig(str(path)), FinetuneConfig(selection=None)
    write_config(out_dir, f"finetune-{name}", Config(out_dir, data=data, finetune=finetune))


def test_rows_that_a_training_on_every_row_left_out_are_not_in_it(
    out_dir: str, tmp_path: Path
) -> None:
    held = [row(0), row(1)]
    near = {**row(1), "instruction": "Say 1!"}
    path = write_rows(tmp_path / "rows.jsonl", [*held, row(2), near])
    own = io.join(out_dir, "holdout.parquet")
    write_table(own, held)
    train_on_all(out_dir, "full", path, io.sha256(own))
    assert twins(out_dir, [*held, row(2)]) == [(1, str(path)), (2, str(path))]


def test_a_file_that_has_changed_since_it_was_trained_on_is_told(
    out_dir: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [row(0)])
    train_on_all(out_dir, "full", path, 0, io.sha256(str(path)))
    assert twins(out_dir, [row(0), row(1)]) == [(0, str(path))]
    assert "has changed" not in caplog.text
    write_rows(tmp_path / "rows.jsonl", [row(2)])
    assert twins(out_dir, [row(0), row(1)]) == []
    assert f"data.path={path} has changed since a model of the run was trained on it" in caplog.text


@pytest.mark.parametrize("held_out", ["another hash", 2])
def test_rows_that_a_training_did_not_leave_out_are_in_it(
    out_dir: str, tmp_path: Path, held_out: str | int
) -> None:
    """It was trained before the run held these rows out, beside one that left them out."""
    held = [row(0), row(1)]
    path = write_rows(tmp_path / "rows.jsonl", [*held, row(2)])
    own = io.join(out_dir, "holdout.parquet")
    write_table(own, held)
    train_on_all(out_dir, "early", path, held_out)
    train_on_all(out_dir, "full", path, io.sha256(own))
    assert twins(out_dir, held) == [(0, str(path)), (1, str(path))]
