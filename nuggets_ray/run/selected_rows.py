"""The selected rows as files: exact JSON lines, and a parquet table of the same rows.

A line of jsonl is the text of the original row with our columns put behind its fields, so numbers,
order and nesting stay as they were. In the table a field has the type that pyarrow infers (missing
is null); a field whose values have no common parquet type is kept as JSON strings.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

BATCH_ROWS = 8192


def to_jsonl(rows: Sequence[bytes], added: pa.Table) -> pa.Buffer:
    """One line a row: the JSON object in `rows[i]`, its text untouched, then row i of `added`."""
    sink = pa.BufferOutputStream()
    for start in range(0, len(rows), BATCH_ROWS):
        extras = added.slice(start, BATCH_ROWS).to_pylist()
        for row, extra in zip(rows[start : start + BATCH_ROWS], extras, strict=True):
            head = row.strip()[:-1].rstrip()
            comma = b"" if head == b"{" else b", "
            sink.write(head + comma + json.dumps(extra, ensure_ascii=False)[1:].encode() + b"\n")
    return sink.getvalue()


def to_table(rows: Sequence[bytes]) -> pa.Table:
    """The JSON objects in `rows` as a table: their fields in order of first appearance, one row
    each.

    Numbers of one field become doubles where some are not integers, and objects of one field get
    the union of their keys. A field that mixes other types, or holds what parquet cannot (empty
    objects, integers past 64 bits), is a column of JSON strings.
    """
    batches: list[dict[str, pa.Array]] = []
    sizes: list[int] = []
    names: dict[str, None] = {}
    for batch in _parsed(rows):
        names.update(dict.fromkeys(name for row in batch for name in row))
        batches.append({name: _typed([row.get(name) for row in batch]) for name in names})
        sizes.append(len(batch))
    columns: dict[str, pa.ChunkedArray | None] = {}
    for name in names:
        chunks = [
            batch.get(name, pa.nulls(size)) for batch, size in zip(batches, sizes, strict=True)
        ]
        columns[name] = _unified(chunks)
    as_json = [name for name, column in columns.items() if column is None]
    if as_json:
        columns.update(_json_columns(rows, as_json))
    return pa.table(columns)


def _parsed(rows: Sequence[bytes]) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(rows), BATCH_ROWS):
        yield [json.loads(row) for row in rows[start : start + BATCH_ROWS]]


def _typed(values: list[Any]) -> pa.Array | None:
    """The values as an array, or None where they have no common type."""
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return None


def _unified(chunks: list[pa.Array | None]) -> pa.ChunkedArray | None:
    """The chunks of one field promoted to one type that parquet can hold, or None where there is
    none."""
    if any(chunk is None for chunk in chunks):
        return None
    try:
        tables = [pa.table({"field": chunk}) for chunk in chunks]
        column = pa.concat_tables(tables, promote_options="permissive")["field"]
    except pa.ArrowException:
        return None
    return None if _has_empty_struct(column.type) else column


def _has_empty_struct(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind) and kind.num_fields == 0:
        return True
    return any(_has_empty_struct(kind.field(i).type) for i in range(kind.num_fields))


def _json_columns(rows: Sequence[bytes], names: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    chunks: dict[str, list[pa.Array]] = {name: [] for name in names}
    for batch in _parsed(rows):
        for name in names:
            values = [row.get(name) for row in batch]
            texts = [None if value is None else json.dumps(value) for value in values]
            chunks[name].append(pa.array(texts, pa.string()))
    return {name: pa.chunked_array(arrays) for name, arrays in chunks.items()}
