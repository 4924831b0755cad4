"""A run folder from Python: scores with their rows, the matrix with its ids, of a partial run."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nuggets_ray import io, open_run
from nuggets_ray.errors import UserError
from nuggets_ray.io import write_json
from nuggets_ray.records import Anchor, Encoding, ScoreRow, SignalRow
from nuggets_ray.run.anchors import write_anchors
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.open_run import OpenRun
from nuggets_ray.run.scores import write_scores
from nuggets_ray.run.signals import write_signals

ZERO_SHOT = np.array([-2.0, -1.0], np.float32)
ROWS = [
    {"instruction": "a", "output": "1", "tag": 7},
    {"instruction": "b", "output": "2"},
    {"instruction": "a", "output": "1", "tag": 8},
    {"instruction": "c", "output": "3"},
]
IDS = ["aa", "bb", "aa", "cc"]


def score(content_id: str, one_shot: list[float], golden_score: float) -> ScoreRow:
    numbers = (2, 0.5, 0, 0.1, 0.9, "complete", 10, 4, 0, None)
    log_probs = np.array(one_shot, np.float32)
    return ScoreRow(content_id, content_id, golden_score, 1, *numbers, log_probs)


@pytest.fixture
def out_dir(tmp_path: Path) -> str:
    """Four rows, two of them copies; the last one is not scored yet."""
    out_dir = str(tmp_path / "run")
    write_json(io.join(out_dir, "manifest.json"), {"schema_version": 1, "stages": {}})
    candidates = {
        "example_id": ["aa", "bb", "aa-2", "cc"],
        "content_id": IDS,
        "source_path": ["rows.jsonl"] * 4,
        "row_number": [0, 1, 2, 3],
        "row_json": [json.dumps(row) for row in ROWS],
    }
    io.write_table(io.join(out_dir, "candidates", "part-00000.parquet"), pa.table(candidates))
    encoding = Encoding(np.array([3, 4]), np.array([False, True]))
    anchors = [Anchor(f"file-{n}", f"id{n}", "file", f"anchor {n}", encoding) for n in range(2)]
    write_anchors(io.join(out_dir, "anchors.parquet"), anchors, ZERO_SHOT)
    write_scores(out_dir, "one", [score("bb", [-1.5, -1.5], 0.5)])
    write_scores(out_dir, "two", [score("aa", [-1.0, -0.5], 1.0)])
    return out_dir


def test_scores_are_in_order_of_the_data_with_copies(out_dir: str) -> None:
    table = open_run(out_dir).scores()
    assert table["example_id"].to_pylist() == ["aa", "bb", "aa-2"]
    assert table["content_id"].to_pylist() == ["aa", "bb", "aa"]
    assert table["row_number"].to_pylist() == [0, 1, 2]
    assert table["golden_score"].to_pylist() == [1.0, 0.5, 1.0]
    assert "num_near_ties" in table.column_names and "one_shot_logprob" not in table.column_names


def test_scores_with_their_rows(out_dir: str) -> None:
    table = open_run(Path(out_dir)).scores(with_rows=True)
    assert table.column_names[:4] == ["instruction", "output", "tag", "example_id"]
    rows = table.select(["instruction", "tag", "golden_score"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [("a", 7, 1.0), ("b", None, 0.5), ("a", 8, 1.0)]
    assert len(table.to_pandas()) == 3


def test_a_field_with_one_of_our_names_needs_a_prefix(out_dir: str) -> None:
    part = io.join(out_dir, "candidates", "part-00000.parquet")
    table = io.read_table(part)
    texts = pa.array([json.dumps({**row, "status": "mine"}) for row in ROWS])
    io.write_table(part, table.drop_columns(["row_json"]).append_column("row_json", texts))
    with pytest.raises(UserError, match=r"field named status.*prefix=\.\.\."):
        open_run(out_dir).scores(with_rows=True)
    prefixed = open_run(out_dir).scores(with_rows=True, prefix="nuggets_")
    assert prefixed["status"].to_pylist() == ["mine"] * 3
    assert prefixed["nuggets_status"].to_pylist() == ["complete"] * 3


def test_the_matrix_has_a_row_for_each_row_of_the_scores(out_dir: str) -> None:
    run = open_run(out_dir)
    matrix = run.matrix()
    assert list(matrix.example_ids) == run.scores()["example_id"].to_pylist()
    assert matrix.anchor_ids == ("file-0", "file-1")
    assert matrix.anchor_sets == ("file", "file")
    of_set = dict(zip(*run.set_scores().select(["content_id", "golden_score"]), strict=True))
    first = {row["content_id"]: row["golden_score"] for row in run.scores().to_pylist()}
    assert {i.as_py(): score.as_py() for i, score in of_set.items()} == first
    assert matrix.one_shot_NA.dtype == np.float32
    expected = [[-1.0, -0.5], [-1.5, -1.5], [-1.0, -0.5]]
    np.testing.assert_array_equal(matrix.one_shot_NA, np.array(expected, np.float32))
    np.testing.assert_array_equal(matrix.delta_NA[1], [0.5, -0.5])
    assert ((matrix.delta_NA > 0).mean(axis=1) == run.scores()["golden_score"].to_numpy()).all()


def test_anchors_and_manifest(out_dir: str) -> None:
    run = open_run(out_dir)
    assert run.anchors["text"].to_pylist() == ["anchor 0", "anchor 1"]
    assert run.anchors["zero_shot_logprob"].to_pylist() == ZERO_SHOT.tolist()
    assert run.manifest["schema_version"] == 1


def test_selections_that_are_whole(out_dir: str) -> None:
    run = open_run(out_dir)
    assert dict(run.selections) == {}
    for name in ("golden", "half"):
        rows = pa.table({"instruction": [name], "rank": [1]})
        io.write_table(RunFolder(out_dir).selection(name).parquet, rows)
    write_json(RunFolder(out_dir).selection("golden").record, {"settings": {}})
    assert list(run.selections) == ["golden"] and len(run.selections) == 1
    assert run.selections["golden"]["instruction"].to_pylist() == ["golden"]
    assert "half" not in run.selections


@pytest.mark.parametrize("gone", [True, False])
def test_a_selection_whose_rows_are_gone_is_to_be_made_again(out_dir: str, gone: bool) -> None:
    selection = RunFolder(out_dir).selection("golden")
    write_json(selection.record, {"settings": {}})
    if not gone:
        os.symlink(os.path.basename(selection.parquet), selection.parquet)  # to itself
    with pytest.raises(UserError, match=r"selected\.parquet cannot be read .*select_topk"):
        open_run(out_dir).selections["golden"]


@pytest.mark.parametrize("gone", ["one_shot_logprob", "golden_score"])
def test_scores_without_what_every_version_writes_are_damaged(out_dir: str, gone: str) -> None:
    for path in Path(RunFolder(out_dir).scores).glob("*.parquet"):
        io.write_table(str(path), io.read_table(str(path)).drop_columns([gone]))
    run = open_run(out_dir)
    with pytest.raises(UserError, match="damaged"):
        run.matrix() if gone == "one_shot_logprob" else run.scores()


def test_scores_of_an_earlier_version_have_its_columns(out_dir: str) -> None:
    for part in io.list_files(io.join(out_dir, "scores"), ".parquet"):
        io.write_table(part, io.read_table(part).drop_columns(["num_near_ties"]))
    table = open_run(out_dir).scores()
    assert "num_near_ties" not in table.column_names
    assert table["golden_score"].to_pylist() == [1.0, 0.5, 1.0]


def test_nothing_is_scored_yet(out_dir: str) -> None:
    io.delete(io.join(out_dir, "scores"))
    io.delete(io.join(out_dir, "anchors.parquet"))
    run = open_run(out_dir)
    for read in (run.scores, run.matrix):
        with pytest.raises(UserError, match="holds no scores yet: run jobs/score.py"):
            read()
    with pytest.raises(UserError, match="holds no anchors yet"):
        _ = run.anchors


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match="is no run folder, as it holds no manifest.json"):
            open_run(folder)


def test_reading_writes_nothing(out_dir: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path(out_dir).rglob("*")}
    run: OpenRun = open_run(out_dir)
    run.scores(with_rows=True)
    run.matrix()
    assert {path: path.stat().st_mtime_ns for path in Path(out_dir).rglob("*")} == before


def test_signals_stand_beside_the_scores_of_any_folder(out_dir: str) -> None:
    write_signals(out_dir, "1", [SignalRow("bb", ifd=1.25, ifd_perplexity=1.5, perplexity=4.0)])
    table = open_run(out_dir).signals()
    assert table["example_id"].to_pylist() == ["aa", "bb", "aa-2"]
    assert table["golden_score"].to_pylist() == [1.0, 0.5, 1.0]
    assert table["perplexity"].to_pylist() == [None, 4.0, None]
    assert table["is_ifd_above_1"].to_pylist() == [None, True, None]
    assert table["loss_ratio"].to_pylist() == pytest.approx([2.0, 1.0, 2.0])
    assert table["longest"].to_pylist() == [4.0] * 3
    assert table["rds"].null_count == 3
