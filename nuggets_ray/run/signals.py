"""The files signals/part-*.parquet, with a column a field of `SignalRow`: what rows told beside
their scores.

A worker writes a block's signals as one part, atomically, before the block's scores: so a row that
was scored with a signal asked has it. A row may be in several parts, which hold different signals
of it; readers take each column from the first part that has it. Null: not asked; NaN: no number
came of it. posterior.parquet in the same folder is posterior.py's.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray import io
from nuggets_ray.records import SignalRow
from nuggets_ray.run.candidates import is_among
from nuggets_ray.run.compaction import compacted, delete_compacted, is_compact
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.lookup import Lookup
from nuggets_ray.run.scores import first_of

SIGNALS_SCHEMA = pa.schema(
    [
        ("content_id", pa.string()),
        ("answer_logprob", pa.float64()),
        ("alone_logprob", pa.float64()),
        ("perplexity", pa.float64()),
        ("ifd", pa.float64()),
        ("ifd_perplexity", pa.float64()),
        ("is_ifd_above_1", pa.bool_()),
        ("rds", pa.float64()),
        ("rds_cosine", pa.list_(pa.float32())),
    ]
)


def signal_parts(out_dir: str) -> list[str]:
    """The parts, sorted; empty where no signal was asked yet."""
    uris = io.list_files(RunFolder(out_dir).signals, ".parquet")
    return [uri for uri in uris if uri.rpartition("/")[2].startswith("part-")]


def write_signals(out_dir: str, attempt_id: str, rows: Sequence[SignalRow]) -> str:
    """Write the signals of one block and return the part's path."""
    columns = {f.name: [getattr(row, f.name) for row in rows] for f in fields(SignalRow)}
    return _write(out_dir, attempt_id, pa.table(columns, schema=SIGNALS_SCHEMA))


def read_column(out_dir: str, column: str) -> pa.Table:
    """(content_id, column) of the rows that were asked for it, each once."""
    none = SIGNALS_SCHEMA.empty_table().select(["content_id", column])
    return pa.concat_tables([none, *_pieces(out_dir, column)]).combine_chunks()


def _pieces(out_dir: str, column: str) -> Iterator[pa.Table]:
    """The same, a piece at a time: cosines are as many as passes."""
    seen: set[str] = set()
    for uri in signal_parts(out_dir):
        for table in io.read_pieces(uri, ["content_id", column]):
            yield first_of(table.filter(table[column].is_valid()), "content_id", seen)


def ids_with(out_dir: str, signal: str, num_anchors: int) -> np.ndarray:
    """The content_ids of which a signal of the pass (`perplexity`, `ifd`, `rds`) is known: (n,)
    str. One that is held against the anchors counts where it has met all of them."""
    found = [np.array([], dtype=str)]
    for table in _pieces(out_dir, "rds_cosine" if signal == "rds" else signal):
        if signal == "rds":
            is_whole = pc.equal(pc.list_value_length(table["rds_cosine"]), num_anchors)
            table = table.filter(is_whole)
        found.append(table["content_id"].to_numpy().astype(str))
    return np.concatenate(found)


def lacking(
    out_dir: str, content_ids: np.ndarray, signals: Sequence[str], num_anchors: int
) -> np.ndarray:
    """Which rows have not been asked for all of `signals` yet: (N,) bool."""
    is_lacking_N = np.zeros(len(content_ids), bool)
    for signal in signals:
        is_lacking_N |= ~is_among(content_ids, ids_with(out_dir, signal, num_anchors).tolist())
    return is_lacking_N


def read_signal(out_dir: str, signal: str, content_ids: np.ndarray) -> np.ndarray:
    """A signal of the pass, by its column, of each content_id: (N,) float64, NaN where it has none
    or no number came of it."""
    table = read_column(out_dir, signal)
    values = table[signal].combine_chunks().take(_places(table, content_ids))
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)


def read_cosines(out_dir: str, content_ids: np.ndarray, num_anchors: int) -> np.ndarray:
    """Cosines with every anchor of each content_id: (N, A) float32; NaN where a row has none, and
    for a row itself as an anchor."""
    cosine_NA = np.full((len(content_ids), num_anchors), np.nan, np.float32)
    lookup = Lookup(content_ids)
    for table in _pieces(out_dir, "rds_cosine"):
        rows = lookup.find(table["content_id"].to_numpy())
        lists = table["rds_cosine"].combine_chunks().filter(pa.array(rows >= 0))
        rows, length_N = rows[rows >= 0], pc.list_value_length(lists).to_numpy()
        for length in np.unique(length_N):
            is_such_N, width = length_N == length, min(length, num_anchors)
            some = lists.filter(pa.array(is_such_N)).flatten().to_numpy()
            some_nS = some.reshape(np.count_nonzero(is_such_N), length)
            cosine_NA[rows[is_such_N], :width] = some_nS[:, :width]
    first_N = lookup.find(content_ids)
    copies = np.flatnonzero(first_N != np.arange(len(first_N)))
    cosine_NA[copies] = cosine_NA[first_N[copies]]
    return cosine_NA


def compact_signals(out_dir: str, attempt_id: str) -> None:
    """Merge many small parts into few; nothing is rewritten where they are few already."""
    old = signal_parts(out_dir)
    if is_compact(old):
        return
    for writer, table in compacted((t for uri in old for t in io.read_pieces(uri)), attempt_id):
        _write(out_dir, writer, table)
    delete_compacted(old)


def _places(table: pa.Table, content_ids: np.ndarray) -> pa.Array:
    """The row of each content_id, or null."""
    return pc.index_in(
        pa.array(content_ids, pa.string()), value_set=table["content_id"].combine_chunks()
    )


def _write(out_dir: str, writer: str, table: pa.Table) -> str:
    uri = RunFolder(out_dir).signal_part(f"{writer}-{uuid.uuid4().hex[:12]}")
    io.write_table(uri, table)
    return uri
