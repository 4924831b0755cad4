"""The files under scores/, with a column a field of `ScoreRow`: which ids they hold, and their
compaction at the end of a run.

A worker writes each finished block as one part, atomically, with the attempt id in its name; so a
kill loses only blocks in flight. While a run goes on there is a row a content_id; compaction adds
the rows of exact duplicates and merges the small parts. Old parts are deleted only after all new
ones are there: a kill between leaves rows twice, and readers keep one row an example_id.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from types import NoneType
from typing import Any, get_args, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray import io
from nuggets_ray.config.keys import job_command
from nuggets_ray.errors import UserError
from nuggets_ray.records import ScoreRow
from nuggets_ray.run.compaction import compacted, delete_compacted, is_compact
from nuggets_ray.run.layout import RunFolder

COLUMN_TYPES = {
    str: pa.string(),
    int: pa.int32(),
    float: pa.float64(),
    np.ndarray: pa.list_(pa.float32()),
}


def _schema(record: type) -> pa.Schema:
    """A column for every field of a record, in their order."""
    return pa.schema([(name, _column_type(kind)) for name, kind in get_type_hints(record).items()])


def _column_type(kind: Any) -> pa.DataType:
    """float64 for float, and for float | None."""
    [alone] = [one for one in get_args(kind) or (kind,) if one is not NoneType]
    return COLUMN_TYPES[alone]


SCORE_SCHEMA = _schema(ScoreRow)

ELIMINATED = "part-eliminated-"
"""How the names of parts begin that hold rows a race left behind: after all others in order, so
that a row that was completed since is read as complete.
"""

MAX_READERS = 16


def score_parts(out_dir: str) -> list[str]:
    """The score parts of a run, sorted; empty before the first block. Raises UserError for a run
    that ended while parts with more anchors took their place.
    """
    folder = RunFolder(out_dir)
    if io.exists(folder.added.swap):
        raise UserError(
            f"out_dir={out_dir} ended while added anchors were put into its scores: run "
            f"{job_command('score')} with it again, which finishes that first"
        )
    return io.list_files(folder.scores, ".parquet")


def write_scores(out_dir: str, attempt_id: str, rows: Sequence[ScoreRow]) -> str:
    """Write one finished block and return the part's path."""
    return _write(out_dir, attempt_id, _table(rows))


def write_eliminated_scores(out_dir: str, attempt_id: str, rows: Sequence[ScoreRow]) -> None:
    """Write rows that a race left behind, in parts of their own: the next race replaces them."""
    name = f"{ELIMINATED}{attempt_id}-{uuid.uuid4().hex[:12]}.parquet"
    io.write_table(io.join(RunFolder(out_dir).scores, name), _table(rows))


def write_widened_scores(out_dir: str, attempt_id: str, tables: Iterable[pa.Table]) -> list[str]:
    """Write rows with the columns of added anchors, which are to take the place of those in scores/
    (run/added.py); returns the names of the parts."""
    names = []
    for writer, table in compacted(tables, attempt_id):
        names.append(_part_name(writer))
        io.write_table(io.join(RunFolder(out_dir).added.scores, names[-1]), table)
    return names


def _table(rows: Sequence[ScoreRow]) -> pa.Table:
    columns = {f.name: [getattr(row, f.name) for row in rows] for f in fields(ScoreRow)}
    return pa.table(columns, schema=SCORE_SCHEMA)


def drop_eliminated(out_dir: str, but: str) -> None:
    """Delete what attempts other than `but` wrote of rows that were left behind."""
    for uri in score_parts(out_dir):
        name = uri.rpartition("/")[2]
        if name.startswith(ELIMINATED) and not name.startswith(f"{ELIMINATED}{but}-"):
            io.delete(uri)


def complete_parts(out_dir: str) -> list[str]:
    """The score parts without those of rows that a race left behind."""
    return [u for u in score_parts(out_dir) if not u.rpartition("/")[2].startswith(ELIMINATED)]


def complete_ids(out_dir: str) -> np.ndarray:
    """Every example_id that has a golden score, once, sorted; shape (S,), dtype str."""
    return _unique_ids(complete_parts(out_dir))


def scored_ids(out_dir: str) -> np.ndarray:
    """Every example_id that scores/ holds, once, sorted; shape (S,), dtype str."""
    return _unique_ids(score_parts(out_dir))


def complete_rows(out_dir: str) -> Iterator[pa.Table]:
    """The rows that have a golden score, a piece at a time, each example_id once."""
    return _rows_of(complete_parts(out_dir))


def _unique_ids(parts: Sequence[str]) -> np.ndarray:
    ids = _example_ids(parts)
    return np.unique(ids.to_numpy().astype(str)) if len(ids) else np.array([], dtype=str)


def num_scored_by(out_dir: str, attempt_id: str) -> int:
    """How many rows attempt `attempt_id` computed, of those that are not compacted yet."""
    mine = [part for part in score_parts(out_dir) if f"part-{attempt_id}-" in part]
    return len(_example_ids(mine))


def read_scores(out_dir: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows of scores/ a piece at a time, each example_id once."""
    return _rows_of(score_parts(out_dir), columns)


def _rows_of(parts: Sequence[str], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    wanted = None if columns is None else list(dict.fromkeys(["example_id", *columns]))
    seen: set[str] = set()
    for part in parts:
        for table in io.read_pieces(part, wanted):
            with io.telling_damage(part):
                once = first_of(table, "example_id", seen)
            yield once


def first_of(table: pa.Table, column: str, seen: set[str]) -> pa.Table:
    """The rows whose value of `column` was not seen before; it is from then on."""
    first_N = []
    for value in table[column].to_pylist():
        first_N.append(value not in seen)
        seen.add(value)
    return table if all(first_N) else table.filter(pa.array(first_N))


def read_log_probs(out_dir: str, example_ids: Sequence[str]) -> dict[str, list[float]]:
    """One-shot log-probs (A,) of the given rows of scores/."""
    log_probs: dict[str, list[float]] = {}
    for table in read_scores(out_dir, ["one_shot_logprob"]):
        if len(log_probs) == len(example_ids):
            break
        is_asked = pc.is_in(table["example_id"], value_set=pa.array(example_ids, pa.string()))
        for row in table.filter(is_asked).to_pylist():
            log_probs[row["example_id"]] = row["one_shot_logprob"]
    return log_probs


def compact_scores(out_dir: str, attempt_id: str, copies: Mapping[str, Sequence[str]]) -> None:
    """Merge the parts into few, one row a kept row of the data.

    `copies[content_id]` lists the example_ids of its exact duplicates beyond the first; each gets a
    row with the same numbers. Rows that a killed compaction left twice become one. Nothing is
    rewritten when nothing would change.
    """
    old = complete_parts(out_dir)
    present = set(complete_ids(out_dir).tolist())
    missing = {
        content_id: [example_id for example_id in ids if example_id not in present]
        for content_id, ids in copies.items()
        if content_id in present
    }
    is_whole = not any(missing.values()) and len(_example_ids(old)) == len(present)
    if is_whole and is_compact(old):
        return
    for writer, table in compacted(_with_copies(_rows_of(old), missing), attempt_id):
        _write(out_dir, writer, table)
    delete_compacted(old)


def _example_ids(uris: Sequence[str]) -> pa.ChunkedArray:
    """The example_ids of the parts as they stand, many parts at a time: an object store is slow on
    each.
    """
    with ThreadPoolExecutor(MAX_READERS) as readers:
        tables = readers.map(lambda uri: io.read_table(uri, columns=["example_id"]), uris)
        chunks = [chunk for table in tables for chunk in table["example_id"].chunks]
    return pa.chunked_array(chunks, pa.string())


def _with_copies(
    tables: Iterable[pa.Table], missing: Mapping[str, Sequence[str]]
) -> Iterator[pa.Table]:
    for table in tables:
        yield table
        ids = table["example_id"].to_pylist()
        pairs = [
            (row, copy)
            for row, example_id in enumerate(ids)
            for copy in missing.get(example_id, ())
        ]
        while pairs:  # no more at once than the piece has
            rows, names = zip(*pairs[: len(ids)], strict=True)
            pairs = pairs[len(ids) :]
            copied = table.take(pa.array(rows, pa.int64()))
            yield copied.set_column(0, "example_id", pa.array(names, pa.string()))


def _write(out_dir: str, writer: str, table: pa.Table) -> str:
    uri = io.join(RunFolder(out_dir).scores, _part_name(writer))
    io.write_table(uri, table)
    return uri


def _part_name(writer: str) -> str:
    return f"part-{writer}-{uuid.uuid4().hex[:12]}.parquet"
