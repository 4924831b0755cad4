"""candidates/ and scores/ side by side: each candidate once, with the score of its content."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scored_run import finished_run, source_row, write_candidates, write_scores, write_skipped

from nuggets_ray import io
from nuggets_ray.errors import UserError
from nuggets_ray.run.joined import read_rows, read_scored
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.skipped import SKIPPED_SCHEMA


@pytest.fixture
def out_dir(tmp_path: Path) -> str:
    return finished_run(str(tmp_path / "run"))


def test_every_candidate_has_the_score_of_its_content(out_dir: str) -> None:
    scored = read_scored(out_dir)
    scores = scored.scores
    assert (scored.num_candidates, scored.num_pending) == (21, 0)
    numbers = np.array([int(content_id[1:]) for content_id in scores.content_id])
    np.testing.assert_array_equal(np.sort(numbers), sorted([*range(20), 12]))
    np.testing.assert_array_equal(scores.golden_score, numbers / 20)
    np.testing.assert_array_equal(scores.mean_delta, numbers / 100)
    np.testing.assert_array_equal(scores.num_answer_tokens, 100 - numbers)
    assert [i for i in scores.example_id if "-" in i] == ["c12-2"]


def test_rows_that_are_there_twice_count_once(out_dir: str) -> None:
    write_scores(out_dir, 2, range(3, 15))
    write_candidates(out_dir, 2, range(5, 12))
    scored = read_scored(out_dir)
    assert len(set(scored.scores.example_id)) == len(scored.scores.example_id) == 21
    assert scored.num_candidates == 21


def test_what_has_no_score_waits_unless_it_was_skipped(out_dir: str) -> None:
    write_candidates(out_dir, 2, range(30, 33))
    assert read_scored(out_dir).num_pending == 3
    write_skipped(out_dir, [30, 31, 500])
    scored = read_scored(out_dir)
    assert (scored.num_candidates, scored.num_pending) == (24, 1)
    assert len(scored.scores.example_id) == 21


def test_an_anchor_that_is_excluded_has_no_score_any_more(out_dir: str) -> None:
    rows = [("/data/rows.jsonl", 7, "is_anchor", "", None)]
    columns = [list(column) for column in zip(*rows, strict=True)]
    io.write_table(RunFolder(out_dir).skipped, pa.table(columns, schema=SKIPPED_SCHEMA))
    scored = read_scored(out_dir)
    assert "c07" not in scored.scores.example_id and scored.num_pending == 0


def test_a_row_that_was_not_finished_has_no_golden_score(out_dir: str) -> None:
    uri = io.list_files(RunFolder(out_dir).scores, ".parquet")[0]
    table = io.read_table(uri)
    at = table.column_names.index("golden_score")
    none = pa.nulls(table.num_rows, pa.float64())
    io.write_table(uri, table.set_column(at, "golden_score", none))
    assert np.isnan(read_scored(out_dir).scores.golden_score).sum() == table.num_rows + 1


@pytest.mark.parametrize("missing", ["scores", "candidates"])
def test_nothing_scored_yet_is_told(out_dir: str, missing: str) -> None:
    io.delete(getattr(RunFolder(out_dir), missing))
    with pytest.raises(UserError, match="holds no scores yet: run jobs/score.py"):
        read_scored(out_dir)


def test_parts_that_never_hold_still_are_told(
    out_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(uri: str, columns: object = None) -> pa.Table:
        raise FileNotFoundError(uri)

    monkeypatch.setattr(io, "read_table", gone)
    with pytest.raises(UserError, match="its parts keep changing, so run the same command again"):
        read_scored(out_dir)


def test_rows_come_in_the_order_asked_for(out_dir: str) -> None:
    rows = [json.loads(row) for row in read_rows(out_dir, np.array(["c19", "c00", "c12-2"]))]
    assert rows == [
        source_row(number) | {"copy": copy} for number, copy in ((19, 1), (0, 1), (12, 2))
    ]
    assert read_rows(out_dir, np.array([], str)) == []
