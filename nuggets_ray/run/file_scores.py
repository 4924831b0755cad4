"""select.scores_path: scores of another tool, or of another run, as further signals of the rows.

A file (or folder of files) of rows with an id and numbers, in any kind that data.path takes; or a
run folder. Rows are matched by example_id, content_id or id (ours, or the data's own field `id`),
else by row_number (counted from 0) with source_path, which may be left out where the data is one
file. Legend: N rows of the run.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from nuggets_ray import io
from nuggets_ray.data.inputs import list_inputs, read_rows
from nuggets_ray.errors import UserError
from nuggets_ray.run.candidates import candidate_batches
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.open_run import OpenRun

logger = logging.getLogger(__name__)

KEY = "select.scores_path"
IDS = ("example_id", "content_id", "id")
MAX_NAMED = 3

Key = str | tuple[str, int]


def read_file_scores(
    path: str, columns: Sequence[str], out_dir: str, scored: pa.Table
) -> dict[str, np.ndarray]:
    """Each column of `path` for the rows of `join_scores`: (N,) float64, NaN where the file has
    none, which is told in a warning.

    Raises UserError where the file has no such column, nothing to match rows by, a value that is no
    number, or no row of this run.
    """
    found: dict[str, dict[Key, float]] = {column: {} for column in columns}
    keys: set[Key] = set()
    name = ""
    for place, row in _rows(path):
        name = name or _key_name(path, row)
        _check_columns(path, row, columns)
        key = _key(row, name, place)
        keys.add(key)
        for column in columns:
            found[column][key] = _number(row[column], column, place)
    if not keys:
        raise UserError(f"{KEY}={path} holds no rows: give a file with an id and a number a row")
    key_N = _keys_of_run(name, keys, out_dir, scored, path)
    missing = [row for row, key in enumerate(key_N) if key not in keys]
    if len(missing) == len(key_N):
        raise UserError(
            f"{KEY}={path}: none of its {len(keys)} rows is one of the {len(key_N)} scored ones by "
            f"{name} (here {_some(key_N)}; there {_some(sorted(keys, key=str))}): give the ids of "
            "this run (example_id in open_run(...).scores()), or row_number"
        )
    if missing:
        ids = scored["example_id"]
        logger.warning(
            "%s=%s has no row for %d of the %d scored ones (%s): they cannot be chosen by it",
            *(KEY, path, len(missing), len(key_N), _some([ids[row].as_py() for row in missing])),
        )
    nothing = float("nan")
    return {
        column: np.array([values.get(key, nothing) for key in key_N], np.float64)
        for column, values in found.items()
    }


def _rows(path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(where it stands, row) of every row."""
    if io.exists(RunFolder(path).manifest):
        run = OpenRun(path)
        table, signals = run.scores(), run.signals()
        for name in signals.column_names:
            if name not in table.column_names:
                table = table.append_column(name, signals[name])
        for number, row in enumerate(table.to_pylist()):
            yield f"{path}, row {number}", row
        return
    for file in list_inputs(path, KEY):
        for number, row in enumerate(read_rows(file)):
            if not isinstance(row, dict):
                raise UserError(f"{KEY}: {file.path}, row {number}, is no object with columns")
            yield f"{file.path}, row {number}", row


def _key_name(path: str, row: Mapping[str, Any]) -> str:
    """By which column rows are matched."""
    for name in (*IDS, "row_number"):
        if row.get(name) is not None:
            return name
    raise UserError(
        f"{KEY}={path} has nothing to match rows by (its columns: {', '.join(map(str, row))}): "
        "give it an example_id or content_id as in scores/, an id as in the data, or a row_number, "
        "counted from 0"
    )


def _check_columns(path: str, row: Mapping[str, Any], columns: Sequence[str]) -> None:
    for column in columns:
        if column not in row:
            raise UserError(
                f"select.by={column}: neither a signal of ours nor a column of {KEY}={path}, which "
                f"has {', '.join(map(str, row))}"
            )


def _key(row: Mapping[str, Any], name: str, place: str) -> Key:
    value = row.get(name)
    if value is None:
        raise UserError(f"{KEY}: {place}, has no {name}, as the rows before it have: give it one")
    if name != "row_number":
        return str(value)
    try:
        return str(row.get("source_path") or ""), int(value)
    except ValueError as error:
        raise UserError(f"{KEY}: {place}: row_number={value} is no whole number") from error


def _number(value: Any, column: str, place: str) -> float:
    try:
        return float("nan") if value is None or value == "" else float(value)
    except (TypeError, ValueError) as error:
        raise UserError(f"{KEY}: {place}: {column}={value!r} is no number") from error


def _keys_of_run(name: str, keys: set[Key], out_dir: str, scored: pa.Table, path: str) -> list[Key]:
    """What the run's rows are called in the file."""
    if name != "row_number":
        ids = scored["example_id" if name == "id" else name].to_pylist()
        if name != "id" or keys.intersection(ids):
            return list(ids)
        own = _own_ids(out_dir)
        return [own.get(example_id, "") for example_id in ids]
    sources, numbers = scored["source_path"].to_pylist(), scored["row_number"].to_pylist()
    if any(isinstance(key, tuple) and not key[0] for key in keys):
        if len(set(sources)) > 1:
            raise UserError(
                f"{KEY}={path} has a row_number without a source_path, and the rows are of "
                f"{len(set(sources))} files ({_some(sorted(set(sources)))}): add that column"
            )
        sources = [""] * len(numbers)
    return list(zip(sources, numbers, strict=True))


def _own_ids(out_dir: str) -> dict[str, str]:
    """The data's own field `id` of each row, by example_id."""
    own = {}
    for batch in candidate_batches(out_dir, ["example_id", "row_json"]):
        texts = batch["row_json"].to_pylist()
        for example_id, text in zip(batch["example_id"].to_pylist(), texts, strict=True):
            row = json.loads(text)
            if isinstance(row, dict) and row.get("id") is not None:
                own[example_id] = str(row["id"])
    return own


def _some(values: Sequence[object]) -> str:
    """The first of them as text."""
    more = ", ..." if len(values) > MAX_NAMED else ""
    return ", ".join(str(value) for value in values[:MAX_NAMED]) + more
