"""A selection of rows from tables keeps the types of the tables."""

import datetime
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scored_run import choose, write_scores

from nuggets_ray import io
from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.data.inputs import list_inputs, read_texts
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.source_rows import read_source_table

UTC = datetime.UTC


def source(start: int, num: int = 10) -> pa.Table:
    numbers = range(start, start + num)
    return pa.table(
        {
            "instruction": [f"q{i}" for i in numbers],
            "when": pa.array(
                [datetime.datetime(2026, 1, 1 + i, tzinfo=UTC) for i in numbers],
                pa.timestamp("us", tz="UTC"),
            ),
            "price": pa.array([decimal.Decimal(f"{i}.25") for i in numbers], pa.decimal128(5, 2)),
            "thumb": pa.array([bytes([i, 255]) for i in numbers], pa.binary()),
            "weight": pa.array([i / 3 for i in numbers], pa.float32()),
            "tag": pa.array([f"t{i % 3}" for i in numbers]).dictionary_encode(),
            "lang": pa.array([{"a": i} for i in numbers], pa.struct([("a", pa.int8())])),
            "calls": pa.array([[f'{{"n": {i}}}'] for i in numbers], pa.list_(pa.string())).cast(
                pa.list_(pa.json_())
            ),
        }
    )


def write_run(out_dir: str, data: Path) -> None:
    """A finished run of the rows of every file in `data`: content c00, c01, ..."""
    write_scores(out_dir, 0, range(20))
    rows = []
    for file in list_inputs(str(data)):
        for number, text in enumerate(read_texts(file)):
            id = f"c{len(rows):02d}"
            rows.append(
                {
                    "example_id": id,
                    "content_id": id,
                    "source_path": file.path,
                    "row_number": number,
                    "row_json": text,
                    "num_answer_tokens": 5,
                }
            )
    uri = io.join(RunFolder(out_dir).candidates, "part-00000.parquet")
    io.write_table(uri, pa.Table.from_pylist(rows))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    pq.write_table(source(0), folder / "a.parquet", row_group_size=4)
    table = source(10)
    with (
        pa.OSFile(str(folder / "b.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as w,
    ):
        w.write_table(table, max_chunksize=3)
    return folder


def test_types_and_values_are_those_of_the_source(tmp_path: Path, data: Path) -> None:
    out_dir = str(tmp_path / "run")
    write_run(out_dir, data)
    result, rows = choose(out_dir, SelectConfig(fraction=0.6))
    assert [row["example_id"] for row in rows] == [f"c{i:02d}" for i in range(19, 7, -1)]
    table = io.read_table(result["wrote"][1])
    names = source(0).column_names
    kept = table.select(names)
    expected = pa.concat_tables([source(0), source(10)]).take(list(range(19, 7, -1)))
    assert kept.schema.types == expected.schema.types
    assert kept.to_pylist() == expected.to_pylist()
    assert table.column_names == [*names, "example_id", "golden_score", "rank"]


def test_what_datasets_notes_of_its_features_is_kept(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"q": datasets.Value("string"), "kind": datasets.ClassLabel(names=["a", "b"])}
    )
    (tmp_path / "data").mkdir()
    rows = {"q": [f"q{i}" for i in range(20)], "kind": [i % 2 for i in range(20)]}
    datasets.Dataset.from_dict(rows, features).to_parquet(tmp_path / "data" / "a.parquet")
    write_run(str(tmp_path / "run"), tmp_path / "data")
    result, _ = choose(str(tmp_path / "run"))
    selected = datasets.load_dataset(
        "parquet", data_files=result["wrote"][1], cache_dir=str(tmp_path / "cache")
    )["train"]
    assert selected.features["kind"] == features["kind"]
    assert selected["q"][:2] == ["q19", "q18"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda path: path.unlink(), "cannot be read any more"),
        (lambda path: pq.write_table(source(3), path), "does not hold the rows"),
        (lambda path: pq.write_table(source(0).slice(0, 4), path), "does not hold the rows"),
    ],
)
def test_a_source_that_has_changed_is_told(
    tmp_path: Path, data: Path, change: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    out_dir = str(tmp_path / "run")
    write_run(out_dir, data)
    change(data / "a.parquet")
    result, rows = choose(out_dir, SelectConfig(fraction=1.0))
    assert f"a.parquet {why}" in caplog.text
    table = io.read_table(result["wrote"][1])
    assert table["when"].to_pylist() == [row["when"] for row in rows], "as JSON has them"


def test_rows_of_text_files_have_no_types_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    lines = "".join(f'{{"instruction": "q{i}"}}\n' for i in range(20))
    (tmp_path / "data" / "a.jsonl").write_text(lines)
    write_run(str(tmp_path / "run"), tmp_path / "data")
    assert read_source_table(str(tmp_path / "run"), np.array(["c03"]), [b"{}"]) is None


def test_rows_of_tables_and_of_text_files_together_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "data").mkdir()
    pq.write_table(source(0), tmp_path / "data" / "a.parquet")
    lines = "".join(f'{{"instruction": "q{i}"}}\n' for i in range(10, 20))
    (tmp_path / "data" / "b.jsonl").write_text(lines)
    out_dir = str(tmp_path / "run")
    write_run(out_dir, tmp_path / "data")
    choose(out_dir, SelectConfig(fraction=1.0))
    assert "b.jsonl beside a table has no others" in caplog.text
