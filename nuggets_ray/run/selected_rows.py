"""The selected rows as files: exact JSON lines, and a parquet table of the same rows.

A line of jsonl is the text of the original row with our columns put behind its fields, so numbers,
order and nesting stay as they were. In the table a field has the type that its values have in
common (missing is null); a level whose values have none is kept as JSON text of the type
arrow.json, which `datasets` reads as the values, and gives to the same rows as jsonl.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa

BATCH_ROWS = 8192
JSON = pa.json_()


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

    Numbers of one field become doubles where some are not integers. A level is JSON where its
    values are of several types, or objects of other fields than each other, or nothing that parquet
    can hold (empty objects, integers past 64 bits).
    """
    types: dict[str, pa.DataType] = {}
    for batch in _parsed(rows):
        for name in dict.fromkeys(name for row in batch for name in row):
            kind = _type_of([row.get(name) for row in batch])
            types[name] = _common(types[name], kind) if name in types else kind
    columns = {name: _column(rows, name, kind) for name, kind in types.items()}
    return pa.table(columns)


def json_columns(schema: pa.Schema) -> list[str]:
    """The columns of which some level is JSON."""
    return [field.name for field in schema if _has_json(field.type)]


def _parsed(rows: Sequence[bytes]) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(rows), BATCH_ROWS):
        yield [json.loads(row) for row in rows[start : start + BATCH_ROWS]]


def _type_of(values: Sequence[Any]) -> pa.DataType:
    """The type that the values have in common."""
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, dict) for value in present):
        fields = present[0].keys()
        if not fields or any(value.keys() != fields for value in present):
            return JSON
        return pa.struct(
            [(name, _type_of([value[name] for value in present])) for name in present[0]]
        )
    if present and all(isinstance(value, list) for value in present):
        return pa.list_(_type_of(list(chain.from_iterable(present))))
    try:
        kind = pa.array(present).type
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return JSON
    return JSON if pa.types.is_nested(kind) else kind


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type of values of both types."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if pa.types.is_list(one) and pa.types.is_list(other):
        return pa.list_(_common(one.value_type, other.value_type))
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        fields = {field.name: field.type for field in one}
        others = {field.name: field.type for field in other}
        if fields.keys() == others.keys():
            return pa.struct([(name, _common(fields[name], others[name])) for name in fields])
    are_numbers = {one, other} == {pa.int64(), pa.float64()}
    return pa.float64() if are_numbers else JSON


def _column(rows: Sequence[bytes], name: str, kind: pa.DataType) -> pa.ChunkedArray:
    try:
        chunks = [_array([row.get(name) for row in batch], kind) for batch in _parsed(rows)]
    except (pa.ArrowException, OverflowError):  # an integer that no double is equal to
        return _column(rows, name, JSON)
    return pa.chunked_array(chunks, kind)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if not _has_json(kind):
        return pa.array(values, kind)
    return pa.array([_stored(value, kind) for value in values], _storage(kind)).cast(kind)


def _has_json(kind: pa.DataType) -> bool:
    if kind == JSON:
        return True
    return any(_has_json(kind.field(i).type) for i in range(kind.num_fields))


def _storage(kind: pa.DataType) -> pa.DataType:
    """The type with plain text in the place of JSON."""
    if kind == JSON:
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_storage(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _storage(field.type)) for field in kind])
    return kind


def _stored(value: Any, kind: pa.DataType) -> Any:
    """A value with text in the place of its JSON levels."""
    if value is None:
        return None
    if kind == JSON:
        return json.dumps(value)
    if pa.types.is_list(kind):
        return [_stored(item, kind.value_type) for item in value]
    if pa.types.is_struct(kind):
        return {field.name: _stored(value[field.name], field.type) for field in kind}
    return value
