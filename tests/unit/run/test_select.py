"""The select job on run folders as scoring leaves them: finished, going on, dead in compaction."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from made_up_scores import score_row
from scored_run import (
    begin,
    choose,
    finished_run,
    source_row,
    write_candidates,
    write_scores,
    write_skipped,
)

from nuggets_ray import io
from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import Config, SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.io import write_json
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.scores import write_eliminated_scores
from nuggets_ray.run.select import ReplacesTrainedError, format_summary, select_beside


@pytest.fixture
def out_dir(tmp_path: Path) -> str:
    return finished_run(str(tmp_path / "run"))


def test_the_original_rows_come_out_in_rank_order_with_our_columns_behind(out_dir: str) -> None:
    result, rows = choose(out_dir)
    for rank, (row, number) in enumerate(zip(rows, (19, 18, 17, 16), strict=True), start=1):
        ours = {"example_id": f"c{number:02d}", "golden_score": number / 20, "rank": rank}
        expected = source_row(number) | {"copy": 1} | ours
        assert row == expected
        assert list(row) == list(expected)
    assert result["num_rows"] == 4
    assert result["cutoff"] == 16 / 20
    folder = Path(out_dir, "selections", "golden")
    names = ["selected.jsonl", "selected.parquet", "selection.json", "profile.json", "README.md"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert result["wrote"] == [str(folder / name) for name in names]


def test_parquet_holds_the_same_rows_and_mixed_fields_as_json(out_dir: str) -> None:
    result, rows = choose(out_dir)
    table = io.read_table(result["wrote"][1])
    assert table.column_names == list(rows[0])
    for typed, row in zip(table.to_pylist(), rows, strict=True):
        assert json.loads(typed.pop("mixed")) == row.pop("mixed")
        assert typed == row


def test_copies_are_left_out_counted_and_told(
    out_dir: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        result, rows = choose(out_dir, SelectConfig(rule="threshold", min_score=0.55))
    assert [row["example_id"] for row in rows[-2:]] == ["c13", "c12"]
    assert result["num_copies_left_out"] == 1
    assert "select.unique=true: 1 of the 21 scored rows are exact copies" in caplog.text
    told = json.loads(io.read_bytes(result["wrote"][2]))
    assert told["num_copies_left_out"] == 1 and told["settings"]["unique"] is True


def test_copies_have_the_score_of_their_content_and_their_own_row(out_dir: str) -> None:
    _, rows = choose(out_dir, SelectConfig(rule="threshold", min_score=0.55, unique=False))
    assert [row["example_id"] for row in rows[-3:]] == ["c13", "c12", "c12-2"]
    assert [row["copy"] for row in rows[-3:]] == [1, 1, 2]
    assert rows[-1]["golden_score"] == rows[-2]["golden_score"] == 12 / 20


def test_selection_json_tells_settings_and_counts(out_dir: str) -> None:
    result, _ = choose(out_dir, SelectConfig(fraction=0.5, by="longest", order="bottom"))
    told = json.loads(io.read_bytes(result["wrote"][2]))
    assert told["settings"]["name"] == "shortest"
    assert told["settings"]["fraction"] == 0.5
    assert told["settings"]["seed"] == 0
    counts = {key: told[key] for key in ("num_rows", "num_scored", "num_candidates", "partial")}
    assert counts == {"num_rows": 10, "num_scored": 21, "num_candidates": 21, "partial": False}
    assert told["cutoff"] == 100 - 10


def test_a_run_still_going_is_partial(out_dir: str, caplog: pytest.LogCaptureFixture) -> None:
    io.delete(io.join(out_dir, "scores", "part-attempt-0.parquet"))
    result, rows = choose(out_dir, SelectConfig(fraction=0.5))
    assert result["partial"] is True
    assert "partial: 5 of 21 candidates are scored" in caplog.text
    assert [row["example_id"] for row in rows] == ["c04", "c03", "c02"]
    assert json.loads(io.read_bytes(result["wrote"][2]))["partial"] is True


def test_rows_that_scoring_skipped_are_not_waited_for(out_dir: str) -> None:
    write_candidates(out_dir, 2, range(30, 33))
    write_skipped(out_dir, [30, 31])
    assert choose(out_dir)[0]["partial"] is True
    write_skipped(out_dir, [30, 31, 32, 500])
    assert choose(out_dir)[0]["partial"] is False


def test_a_field_with_one_of_our_names_needs_a_prefix(out_dir: str) -> None:
    write_candidates(out_dir, 1, range(10, 20), rank="captain")
    with pytest.raises(UserError, match=r"field named rank, .*select\.prefix"):
        choose(out_dir)
    assert not Path(out_dir, "selections").exists()
    _, rows = choose(out_dir, SelectConfig(rule="top_k", k=4, prefix="my_"))
    assert list(rows[0])[-5:] == ["rank", "copy", "my_example_id", "my_golden_score", "my_rank"]
    assert (rows[0]["rank"], rows[0]["my_rank"]) == ("captain", 1)


def test_a_selection_is_replaced_whole(out_dir: str, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(out_dir)

    def failing(uri: str, data: bytes) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(io, "write_bytes", failing)
    with pytest.raises(OSError, match="disk full"):
        choose(out_dir, SelectConfig(rule="top_k", k=2))
    assert not Path(out_dir, "selections", "golden", "selection.json").exists()


@pytest.mark.parametrize("missing", ["scores", "candidates", "."])
def test_a_run_without_scores_is_refused(out_dir: str, missing: str) -> None:
    io.delete(io.join(out_dir, missing))
    with pytest.raises(UserError, match=r"holds no scores yet: run jobs/score\.py"):
        choose(out_dir)


def test_wrong_settings_are_refused_before_the_run_is_looked_for() -> None:
    with pytest.raises(UserError, match=r"select\.fraction=2\.0"):
        choose("/nowhere", SelectConfig(fraction=2.0))


@pytest.mark.parametrize("by", ["golden_score", "random", "longest"])
def test_parts_that_overlap_change_nothing(out_dir: str, by: str) -> None:
    config = SelectConfig(rule="top_k", k=7, by=by)
    before = choose(out_dir, config)
    write_scores(out_dir, 2, range(3, 15))
    write_candidates(out_dir, 2, range(5, 12))
    assert choose(out_dir, config) == before


def test_parts_compacted_while_they_are_read(out_dir: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = choose(out_dir)
    read_table = io.read_table

    def compacting(uri: str, columns: Sequence[str] | None = None) -> pa.Table:
        if uri.endswith("part-attempt-1.parquet"):
            write_scores(out_dir, 2, range(20))
            for part in (0, 1):
                io.delete(io.join(out_dir, "scores", f"part-attempt-{part}.parquet"))
        return read_table(uri, columns)

    monkeypatch.setattr(io, "read_table", compacting)
    assert choose(out_dir) == expected


def end(out_dir: str, model: str, done: dict[str, Any]) -> None:
    """A model, without what was left of its training."""
    write_json(io.join(out_dir, "models", model, "finetune.json"), done)
    io.delete(io.join(out_dir, "finetune", model))


@pytest.mark.parametrize("is_older", [False, True])
def test_a_selection_that_a_model_was_trained_on_is_not_replaced(
    out_dir: str, is_older: bool
) -> None:
    rows = choose(out_dir)
    record = begin(out_dir, "m", "golden")
    with pytest.raises(UserError, match=r"select.name=golden: finetune/m .*select.replace=true"):
        choose(out_dir, SelectConfig(rule="top_k", k=2))
    settings = {"rows": {"sha256": [record["sha256"]]}}
    end(out_dir, "m", {"settings": settings} | ({} if is_older else {"selection": record}))
    with pytest.raises(UserError, match=r"models/m came from the rows of selections/golden"):
        choose(out_dir, SelectConfig(rule="top_k", k=2))
    same = choose(out_dir, SelectConfig(rule="threshold", min_score=15.5 / 20))
    assert same[1] == rows[1], "the same rows are no replacement"
    choose(out_dir, SelectConfig(rule="top_k", k=2, name="other"))
    _, replaced = choose(out_dir, SelectConfig(rule="top_k", k=2, replace=True))
    assert len(replaced) == 2
    choose(out_dir, SelectConfig(rule="top_k", k=3))  # nobody was trained on those two


def test_a_checkpoint_made_by_an_earlier_version_holds_its_selection(out_dir: str) -> None:
    record_of = choose(out_dir)[0]["wrote"][0]
    settings = {"rows": {"sha256": [io.sha256(record_of)]}}
    saved = {"settings": settings, "last": {}, "best": None}
    write_json(io.join(out_dir, "finetune", "m", "checkpoints.json"), saved)
    with pytest.raises(UserError, match="finetune/m came from"):
        choose(out_dir, SelectConfig(rule="top_k", k=2))


def test_what_stands_beside_is_kept_where_a_model_is_of_it(
    out_dir: str, caplog: pytest.LogCaptureFixture
) -> None:
    other = SelectConfig("top_k", k=4, by="random")
    choose(out_dir, other)
    begin(out_dir, "random-0", "random-0")
    before = io.read_bytes(io.join(out_dir, "selections", "random-0", "selected.jsonl"))
    beside = Config(out_dir, select=SelectConfig("top_k", k=3, by="random"))
    assert select_beside(beside) == []
    assert "selections/random-0 is left as it was: select.name=random-0: " in caplog.text
    assert io.read_bytes(io.join(out_dir, "selections", "random-0", "selected.jsonl")) == before
    trains = FinetuneConfig(selections=["golden", "random-0"])
    with pytest.raises(ReplacesTrainedError):
        select_beside(replace(beside, finetune=trains))
    [jsonl, *_] = select_beside(replace(beside, select=replace(beside.select, replace=True)))
    assert len(io.read_bytes(jsonl).splitlines()) == 3


def raced_run(path: str, race: dict[str, Any]) -> str:
    """Contents c08 to c19 are complete, the others were left behind."""
    write_candidates(path, 0, range(20))
    write_scores(path, 0, range(8, 20))
    left = [
        replace(score_row(f"c{number:02d}", (-1.0, np.nan), "eliminated"), mean_delta=-1.0)
        for number in range(8)
    ]
    write_eliminated_scores(path, "attempt", left)
    numbers = {"num_candidates": 20, "num_anchors": 2, "num_complete": 12}
    write_json(RunFolder(path).manifest, {"schema_version": 1, "race": numbers | race})
    return path


AT_FOUR = {
    "top_k": 4,
    "expected_loss": 0.08,
    "expected_recall": 0.98,
    "agreement": {
        **{"agreement": 0.45, "low": 0.3, "high": 0.6, "num_best": 5, "num_rows": 96},
        "is_beyond": False,
    },
}


def test_a_selection_of_a_race_says_what_was_settled_and_how_far_anchor_sets_agree(
    tmp_path: Path,
) -> None:
    out_dir = raced_run(str(tmp_path), {"top_k": 4, "at": [AT_FOUR]})
    result, _ = choose(out_dir, SelectConfig(rule="top_k", k=2))
    record = json.loads(io.read_bytes(RunFolder(out_dir).selection("golden").record))
    assert record["race"] == result["race"] and result["race"]["settled"] == 4
    assert result["race"]["expected_recall"] == pytest.approx(1 - 0.08 / 2)
    page = format_summary(result)
    assert "The race settled the best 4:" in page
    assert "at least 0.96 of what full scoring on these 2 anchors would have kept" in page
    assert "two anchor sets of this size agree on only 0.45" in page
    other, _ = choose(out_dir, SelectConfig(rule="top_k", k=2, by="longest"))
    assert other["race"] is None and "settled" not in format_summary(other)


@pytest.mark.parametrize(
    ("race", "select", "way_out"),
    [
        ({"top_k": 4}, SelectConfig(rule="top_k", k=5), "race.top_k=5"),
        ({"top_k": 4}, SelectConfig(rule="threshold", min_score=0.7), "race.min_score=0.7"),
        ({"top_k": 4}, SelectConfig(rule="threshold", min_score=0.75), "race.min_score=0.75"),
        ({"top_k": 9, "min_score": 0.5}, SelectConfig(rule="top_k", k=10), "race.top_k=10"),
        (
            {"top_k": 9, "min_score": 0.5},
            SelectConfig(rule="threshold", min_score=0.45),
            "race.min_score=0.45",
        ),
    ],
)
def test_past_what_a_race_settled_the_call_is_named_that_settles_it(
    tmp_path: Path, race: dict[str, Any], select: SelectConfig, way_out: str
) -> None:
    with pytest.raises(UserError, match=way_out):
        choose(raced_run(str(tmp_path), race), select)


@pytest.mark.parametrize(
    ("race", "select", "num_rows"),
    [
        ({"top_k": 4}, SelectConfig(rule="threshold", min_score=0.85), 2),
        ({"top_k": 9, "min_score": 0.5}, SelectConfig(rule="threshold", min_score=0.5), 9),
        ({"top_k": 9, "min_score": 0.5}, SelectConfig(rule="top_k", k=9), 9),
    ],
)
def test_within_what_a_race_settled_rows_are_kept(
    tmp_path: Path, race: dict[str, Any], select: SelectConfig, num_rows: int
) -> None:
    assert choose(raced_run(str(tmp_path), race), select)[0]["num_rows"] == num_rows
