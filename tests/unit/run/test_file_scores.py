"""Scores of other tools: matched by id or by row, and what is missing named."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scored_run import finished_run, write_candidates, write_scores
from shown_run import readable_run

from nuggets_ray import io
from nuggets_ray.errors import UserError
from nuggets_ray.run.file_scores import read_file_scores
from nuggets_ray.run.joined import join_scores
from nuggets_ray.run.layout import RunFolder


def rows_of(out_dir: str) -> pa.Table:
    return join_scores(out_dir, ["golden_score"]).table


@pytest.fixture
def out_dir(tmp_path: Path) -> str:
    return finished_run(str(tmp_path / "run"))


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        names = list(rows[0])
        lines = [",".join(names), *(",".join(str(row[name]) for name in names) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("key", ["example_id", "content_id", "id"])
def test_rows_are_found_by_id_in_every_kind_of_file(
    out_dir: str, tmp_path: Path, kind: str, key: str
) -> None:
    file = write(
        tmp_path / f"other.{kind}", [{key: f"c{n:02d}", "quality": n / 4} for n in range(20)]
    )
    table = rows_of(out_dir)
    values = read_file_scores(file, ["quality"], out_dir, table)["quality"]
    expected = {f"c{n:02d}": n / 4 for n in range(20)}
    for name, content_id, value in zip(
        table["example_id"].to_pylist(), table["content_id"].to_pylist(), values, strict=True
    ):
        known = expected.get(content_id if key == "content_id" else name)
        assert np.isnan(value) if known is None else value == known


def test_rows_are_found_by_their_place_in_the_data(out_dir: str, tmp_path: Path) -> None:
    rows = [{"row_number": n, "q": n} for n in range(20)]
    values = read_file_scores(write(tmp_path / "q.csv", rows), ["q"], out_dir, rows_of(out_dir))
    assert values["q"][:3].tolist() == [0, 1, 2]
    with_source = [{**row, "source_path": "/data/rows.jsonl"} for row in rows]
    again = read_file_scores(
        write(tmp_path / "s.jsonl", with_source), ["q"], out_dir, rows_of(out_dir)
    )
    np.testing.assert_array_equal(again["q"], values["q"])


def test_an_id_of_the_data_s_own_will_do(tmp_path: Path) -> None:
    out_dir = str(tmp_path / "run")
    write_candidates(out_dir, 0, range(3), id="mine")
    write_scores(out_dir, 0, range(3))
    file = write(tmp_path / "q.jsonl", [{"id": "mine", "q": 5}])
    assert read_file_scores(file, ["q"], out_dir, rows_of(out_dir))["q"].tolist() == [5.0] * 3


def test_another_run_is_a_file_too(out_dir: str, tmp_path: Path) -> None:
    other = readable_run(str(tmp_path / "other"))
    io.write_json(RunFolder(other).manifest, {"stages": {}})
    values = read_file_scores(other, ["golden_score", "loss_ratio"], out_dir, rows_of(out_dir))
    known = rows_of(other)
    golden = dict(
        zip(known["example_id"].to_pylist(), known["golden_score"].to_pylist(), strict=True)
    )
    assert values["golden_score"][:12].tolist() == [golden[f"c{n:02d}"] for n in range(12)]
    assert np.isfinite(values["loss_ratio"][:12]).all()


def test_missing_rows_are_counted_and_named(
    out_dir: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"example_id": f"c{n:02d}", "q": None if n == 4 else n} for n in range(18)]
    with caplog.at_level(logging.WARNING):
        found = read_file_scores(
            write(tmp_path / "q.jsonl", rows), ["q"], out_dir, rows_of(out_dir)
        )
    assert "no row for 3 of the 21 scored ones (c18, c19, c12-2)" in caplog.text
    assert np.isnan(found["q"]).sum() == 4


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"name": "c01", "q": 1}], "nothing to match rows by (its columns: name, q)"),
        ([{"id": "c01", "score": 1}], "which has id, score"),
        ([{"id": "c01", "q": "good"}], "q='good' is no number"),
        ([{"id": "zz", "q": 1}], "none of its 1 rows is one of the 21 scored ones"),
        ([{"id": "c01", "q": 1}, {"q": 2}], "row 1, has no id"),
        ([{"row_number": "first", "q": 1}], "row_number=first is no whole number"),
    ],
)
def test_what_cannot_be_joined_is_refused(
    out_dir: str, tmp_path: Path, rows: list[dict[str, Any]], words: str
) -> None:
    with pytest.raises(UserError) as error:
        read_file_scores(write(tmp_path / "q.jsonl", rows), ["q"], out_dir, rows_of(out_dir))
    assert words in str(error.value) and "select" in str(error.value)


def test_a_row_number_alone_is_not_enough_where_there_are_several_files(
    out_dir: str, tmp_path: Path
) -> None:
    table = rows_of(out_dir)
    sources = pa.array([f"/data/{n % 2}.jsonl" for n in range(table.num_rows)])
    place = table.column_names.index("source_path")
    table = table.set_column(place, "source_path", sources)
    file = write(tmp_path / "q.jsonl", [{"row_number": 1, "q": 1}])
    with pytest.raises(UserError, match="the rows are of 2 files"):
        read_file_scores(file, ["q"], out_dir, table)
