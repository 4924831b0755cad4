"""Where rows are from, by fields of the original rows: for a selection's profile and select.per."""

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray.curate.quotas import Sources
from nuggets_ray.errors import UserError
from nuggets_ray.run.candidates import candidate_batches

SOURCE_FIELDS = ("source", "dataset", "category", "task", "language")
"""Fields of a row that may say where it is from, in order."""
MAX_SOURCES = 100
MAX_VALUES = 1000
SOURCE_PATH = "source_path"
NONE = "(none)"
"""The value of rows that lack the field of select.per."""


def read_sources(out_dir: str, table: pa.Table) -> list[Sources]:
    """Where the rows of `join_scores` are from: by those of SOURCE_FIELDS that tell some of them
    apart, or else by their files; none where neither does. Reads a batch of rows at a time.
    """
    names: list[str] = []
    for batch in candidate_batches(out_dir, ["row_json"]):
        rows = [json.loads(text) for text in batch["row_json"].to_pylist()]
        names = [name for name in SOURCE_FIELDS if _tells_apart(rows, name)]
        break
    fields = [one for one in _read(out_dir, table, names, MAX_SOURCES) if len(one.values) > 1]
    if fields:
        return fields
    files = _files(table)
    return [] if len(files.values) < 2 else [files]


def read_field(out_dir: str, table: pa.Table, name: str) -> Sources:
    """The values of select.per, a field (of a field: a.b) or source_path; rows without it have
    the value "(none)". Raises UserError where no row has it, or there are too many values.
    """
    if name == SOURCE_PATH:
        return _files(table)
    columns = _read(out_dir, table, [name], MAX_VALUES)
    if not columns:
        raise UserError(
            f"select.per={name} has more than {MAX_VALUES} values, so each would get a row or "
            "none: take a field that several rows share"
        )
    [column] = columns
    if not column.values:
        raise UserError(
            f"select.per={name}: no row has this field with a text or a number; the rows have "
            f"{', '.join(_fields(out_dir))}, and source_path is the file"
        )
    if (column.value_N >= 0).all():
        return column
    value_N = np.where(column.value_N < 0, len(column.values), column.value_N)
    return Sources(name, (*column.values, NONE), value_N)


def _files(table: pa.Table) -> Sources:
    files = table[SOURCE_PATH].combine_chunks().dictionary_encode()
    return Sources("file", tuple(files.dictionary.to_pylist()), files.indices.to_numpy())


def _fields(out_dir: str) -> list[str]:
    for batch in candidate_batches(out_dir, ["row_json"]):
        rows = [json.loads(text) for text in batch["row_json"].to_pylist()]
        return list(dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row))
    return []


def _read(out_dir: str, table: pa.Table, names: Sequence[str], max_values: int) -> list[Sources]:
    """The fields of these names, but for one of more than `max_values` values."""
    codes: dict[str, dict[str, int]] = {name: {} for name in names}
    values: dict[str, list[int]] = {name: [] for name in names}
    ids: list[pa.Array] = []
    for batch in candidate_batches(out_dir, ["example_id", "row_json"]):
        if not codes:
            return []
        rows = [json.loads(text) for text in batch["row_json"].to_pylist()]
        for name, known in list(codes.items()):
            texts = [_text(row, name) for row in rows]
            values[name] += [known.setdefault(one, len(known)) if one else -1 for one in texts]
            if len(known) > max_values:
                del codes[name]
        ids.append(batch["example_id"])
    if not codes:
        return []
    place_N = pc.index_in(
        table["example_id"].combine_chunks(), value_set=pa.chunked_array(ids).combine_chunks()
    ).to_numpy()
    return [
        Sources(name, tuple(known), np.array(values[name], np.int64)[place_N])
        for name, known in codes.items()
    ]


def _text(row: object, name: str) -> str:
    """The value of a field as text; none where it is missing, a list or an object."""
    value = row.get(name) if isinstance(row, dict) else None
    if value is None and isinstance(row, dict) and "." in name:
        head, _, rest = name.partition(".")
        return _text(row.get(head), rest)
    return str(value) if isinstance(value, str | int | float) else ""


def _tells_apart(rows: Sequence[object], name: str) -> bool:
    """Whether most of the rows have the field as a text, and several share its values."""
    values = [row.get(name) for row in rows if isinstance(row, dict)]
    texts = [value for value in values if isinstance(value, str) and value]
    is_most = len(texts) > len(rows) / 2
    return is_most and 1 < len(set(texts)) <= min(MAX_SOURCES, len(texts) / 2)
