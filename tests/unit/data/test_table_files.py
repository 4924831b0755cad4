"""Tables as rows: csv, tsv, Arrow as `datasets` saves it and as Feather."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import feather

from nuggets_ray.data.rows import BadRow
from nuggets_ray.data.table_files import csv_texts, table_texts

datasets = pytest.importorskip("datasets")


def read_csv(data: bytes, delimiter: str = ",") -> list[object]:
    stream = io.BufferedReader(io.BytesIO(data))
    return [
        row.reason if isinstance(row, BadRow) else json.loads(row)
        for row in csv_texts(stream, delimiter)
    ]


def test_cells_are_text_as_it_stands() -> None:
    data = '\ufeffq,"a",n\r\n"one, ""two""\nthree",007,1e5\r\n\r\né,,\r\n'.encode()
    assert read_csv(data) == [
        {"q": 'one, "two"\nthree', "a": "007", "n": "1e5"},
        {"q": "é", "a": "", "n": ""},
    ]
    assert read_csv(b"q\ta\none, two\tb\n", "\t") == [{"q": "one, two", "a": "b"}]
    assert read_csv(b"") == read_csv(b"q,a\n") == []


def test_a_bad_line_is_a_bad_row_in_its_place() -> None:
    data = b"q,a\n1,2\n1,2,3\n4\n\xff,5\n6,7\n"
    bad = "invalid_csv"
    assert read_csv(data) == [
        {"q": "1", "a": "2"},
        bad,
        bad,
        "invalid_unicode",
        {"q": "6", "a": "7"},
    ]


def test_a_cell_may_be_long() -> None:
    [row] = read_csv(b"q,a\n" + b"x" * 300_000 + b",b\n")
    assert isinstance(row, dict) and len(row["q"]) == 300_000


def test_what_datasets_saves_to_disk_is_read_as_it_was(tmp_path: Path) -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"q{i}"}], "n": i, "m": None if i % 2 else "x"}
        for i in range(1700)
    ]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved", num_shards=2)
    files = sorted((tmp_path / "saved").glob("*.arrow"))
    assert len(files) == 2
    assert [
        json.loads(str(text)) for file in files for text in table_texts(str(file), "arrow")
    ] == rows
    feather.write_feather(pa.Table.from_pylist(rows), tmp_path / "a.arrow")
    assert [
        json.loads(str(text)) for text in table_texts(str(tmp_path / "a.arrow"), "arrow")
    ] == rows
