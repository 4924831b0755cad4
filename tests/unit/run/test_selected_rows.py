"""The selected rows as jsonl (exact) and parquet (typed, or JSON where types do not unify), and
both as `datasets` reads them.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuggets_ray.run import selected_rows
from nuggets_ray.run.selected_rows import json_columns, to_jsonl, to_table

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


def decoded(value: Any, kind: pa.DataType) -> Any:
    """A value as it was, where levels of it are JSON."""
    if value is None:
        return None
    if kind == pa.json_():
        return json.loads(value)
    if pa.types.is_list(kind):
        return [decoded(item, kind.value_type) for item in value]
    if pa.types.is_struct(kind):
        return {field.name: decoded(value[field.name], field.type) for field in kind}
    return value


def encoded(rows: list[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(row).encode() for row in rows]


def written(table: pa.Table) -> list[dict[str, Any]]:
    """The table after a round trip through parquet."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    table = pq.read_table(pa.BufferReader(sink.getvalue()))
    return [
        {field.name: decoded(row[field.name], field.type) for field in table.schema}
        for row in table.to_pylist()
    ]


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
        [{"a": 1}, {"b": "x"}],
        [[{"role": "user"}], [{"role": "assistant", "name": None}]],
        [2**70, 1],
        [2**60 + 1, 0.5],
        [True, 1],
        [{}, {}],
        [{"deep": [{}]}],
        ["\ud800", "x"],
    ],
)
@pytest.mark.parametrize("batch_rows", [1, 100])
def test_a_level_that_parquet_cannot_type_is_json(
    values: list[Any], batch_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selected_rows, "BATCH_ROWS", batch_rows)
    table = to_table(encoded([{"ok": 1, "field": value} for value in values]))
    assert json_columns(table.schema) == ["field"]
    rows = written(table)
    assert [row["field"] for row in rows] == values
    assert [row["ok"] for row in rows] == [1] * len(values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([None, 1, None], [None, 1, None]),
        ([1, 2.5], [1.0, 2.5]),
        ([[], ["a"]], [[], ["a"]]),
        ([{"a": None}, {"a": [1]}, {"a": [0.5]}], [{"a": None}, {"a": [1.0]}, {"a": [0.5]}]),
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


CALLS = [
    {"port": "Cuxhaven"},
    {"port": 7},
    {"city": ["Bremen"], "day": None},
]


def test_datasets_reads_the_same_rows_from_both_files(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [
        {
            "messages": [
                {"role": "user", "content": "High water?"},
                {"role": "assistant", "content": None, "tool_calls": [{"arguments": arguments}]},
            ],
            "turns": [{"role": "user", "content": "q", "weight": weight}],
            "n": 1 if weight else 0.5,
            "mixed": [1, "one", {"a": 1}][weight],
            "note": None if weight else "x",
        }
        for weight, arguments in enumerate(CALLS)
    ]
    added = pa.table({"example_id": ["a", "b", "c"], "golden_score": [0.5, None, 1.0]})
    table = to_table(encoded(rows))
    for name in added.column_names:
        table = table.append_column(name, added[name])
    (tmp_path / "selected.jsonl").write_bytes(to_jsonl(encoded(rows), added).to_pybytes())
    pq.write_table(table, tmp_path / "selected.parquet")

    def loaded(kind: str, file: str) -> Any:
        return datasets.load_dataset(
            kind, data_files=str(tmp_path / file), cache_dir=str(tmp_path / "cache")
        )["train"]

    from_jsonl, from_parquet = (
        loaded("json", "selected.jsonl"),
        loaded("parquet", "selected.parquet"),
    )
    assert from_parquet.features == from_jsonl.features
    assert from_parquet.to_list() == from_jsonl.to_list()
    kept = [{key: row[key] for key in rows[0]} for row in from_jsonl.to_list()]
    assert kept == rows, "and both are the rows of the source"
    with open(tmp_path / "source.jsonl", "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    source = loaded("json", "source.jsonl").features
    assert {name: from_jsonl.features[name] for name in source} == dict(source)
