"""The selected rows as jsonl (exact) and parquet (typed, or JSON text where types do not unify)."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuggets_ray.run import selected_rows
from nuggets_ray.run.selected_rows import to_jsonl, to_table

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=2)
    ),
    max_leaves=6,
)
json_rows = st.lists(
    st.dictionaries(st.sampled_from("abcd"), json_values, min_size=1), min_size=1, max_size=12
)


def encoded(rows: list[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(row).encode() for row in rows]


def written(table: pa.Table) -> list[dict[str, Any]]:
    """The table after a round trip through parquet."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(sink.getvalue())).to_pylist()
    return rows


def test_jsonl_keeps_the_text_of_a_row_to_the_byte() -> None:
    row = '{"b" : 1.0, "a": 12345678901234567890123, "é": ["\\ud83d\\ude00", 1e2], "n": null}'
    line = to_jsonl([row.encode()], pa.table({"example_id": ["x"], "rank": [1]}))
    assert line.to_pybytes() == (row[:-1] + ', "example_id": "x", "rank": 1}\n').encode()


def test_jsonl_of_an_object_without_fields() -> None:
    assert to_jsonl([b" { } "], pa.table({"rank": [1]})).to_pybytes() == b'{"rank": 1}\n'


@given(json_rows)
def test_jsonl_is_the_row_and_our_fields_behind_it(rows: list[dict[str, Any]]) -> None:
    written = to_jsonl(encoded(rows), pa.table({"rank": range(len(rows))}))
    lines = written.to_pybytes().decode().splitlines()
    assert len(lines) == len(rows)
    for i, (line, row) in enumerate(zip(lines, rows, strict=True)):
        assert json.loads(line) == {**row, "rank": i}
        assert list(json.loads(line)) == [*row, "rank"]


def test_table_keeps_types_nesting_and_the_order_of_fields() -> None:
    rows = [
        {"z": "x", "n": 1, "turns": [{"role": "user", "content": "hi"}], "tags": []},
        {"z": "y", "n": 2, "turns": [{"role": "assistant", "content": "ho"}], "tags": ["t"]},
    ]
    table = to_table(encoded(rows))
    assert table.column_names == ["z", "n", "turns", "tags"]
    assert written(table) == rows


def test_a_missing_field_is_null() -> None:
    table = to_table(encoded([{"a": 1}, {"b": "x"}, {"a": 2, "b": "y"}]))
    assert table.to_pydict() == {"a": [1, None, 2], "b": [None, "x", "y"]}


@pytest.mark.parametrize(
    "values",
    [
        [1, "one"],
        [{"a": 1}, "text"],
        [[1], ["a"], None],
        [{"a": 1}, {"a": [1]}],
        [2**70, 1],
        [2**60 + 1, 0.5],
        [True, 1],
        [{}, {}],
        [{"deep": [{}]}],
        ["\ud800", "x"],
    ],
)
@pytest.mark.parametrize("batch_rows", [1, 100])
def test_a_field_that_parquet_cannot_type_is_json_text(
    values: list[Any], batch_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selected_rows, "BATCH_ROWS", batch_rows)
    rows = written(to_table(encoded([{"ok": 1, "field": value} for value in values])))
    texts = [row["field"] for row in rows]
    assert [None if text is None else json.loads(text) for text in texts] == values
    assert [row["ok"] for row in rows] == [1] * len(values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([None, 1, None], [None, 1, None]),
        ([1, 2.5], [1.0, 2.5]),
        ([[], ["a"]], [[], ["a"]]),
        ([{"a": 1}, {"b": "x"}], [{"a": 1, "b": None}, {"a": None, "b": "x"}]),
        ([None, None], [None, None]),
    ],
)
def test_types_unify_across_batches(
    values: list[Any], expected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selected_rows, "BATCH_ROWS", 1)
    rows = written(to_table(encoded([{"field": value} for value in values])))
    assert [row["field"] for row in rows] == expected


@given(json_rows)
def test_no_json_crashes_the_table(rows: list[dict[str, Any]]) -> None:
    assert len(written(to_table(encoded(rows)))) == len(rows)
