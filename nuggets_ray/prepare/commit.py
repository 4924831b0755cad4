"""Staged blocks -> candidates/part-*.parquet, holdout.parquet and skipped.parquet, all or nothing.

candidates/_prepared.json {key, version, attempt_id, parts, prepared} is the commit: until it is
written the former parts are the valid ones, then the new. What a kill leaves undone after it
(skipped.parquet moved out of the staging folder, old parts and staging removed) the next `finish`
does.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray import io
from nuggets_ray.config.schema import DataConfig
from nuggets_ray.data.counts import FieldCounts
from nuggets_ray.data.examples import Rules
from nuggets_ray.errors import UserError
from nuggets_ray.prepare.ids import example_ids
from nuggets_ray.prepare.prepared import PREPARE_VERSION, HashedInput, Prepared, Rows, held_out
from nuggets_ray.run import skipped as skipped_table
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.skipped import SKIPPED_SCHEMA

SCHEMA = pa.schema(
    [
        ("example_id", pa.string()),
        ("content_id", pa.string()),
        ("source_path", pa.string()),
        ("row_number", pa.int64()),
        ("row_json", pa.string()),
        ("num_prompt_tokens", pa.int32()),
        ("num_answer_tokens", pa.int32()),
        ("num_dropped_tokens", pa.int32()),
        ("is_duplicate", pa.bool_()),
    ]
)
PART_BYTES = 64 << 20
GROUP_ROWS = 1_000
"""Rows that are read together: a block of work reads those that its rows lie in."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What candidates/ holds: the key of what made it, the names of its parts, the counts.

    `version`: the PREPARE_VERSION of the code that read the rows.
    """

    key: str
    version: int
    attempt_id: str
    parts: tuple[str, ...]
    prepared: Prepared


def read_commit(out_dir: str) -> Commit | None:
    """The commit of a run folder, None before there is one."""
    uri = RunFolder(out_dir).prepared
    if not io.exists(uri):
        return None
    record = io.read_json(uri)
    with io.telling_damage(uri):
        inputs = tuple(HashedInput(**file) for file in record["prepared"].pop("inputs"))
        prepared = Prepared(inputs=inputs, **record["prepared"])
        version, parts = record.get("version", 1), tuple(record["parts"])
        return Commit(record["key"], version, record["attempt_id"], parts, prepared)


def finish(out_dir: str) -> Commit | None:
    """Carry the last commit through, remove the rest of dead attempts; returns that commit."""
    folder = RunFolder(out_dir)
    commit = read_commit(out_dir)
    if commit is not None:
        new_skipped = folder.staged_skipped(commit.attempt_id)
        if io.exists(new_skipped):
            io.write_bytes(folder.skipped, io.read_bytes(new_skipped))
    valid = {io.join(folder.candidates, name) for name in commit.parts} if commit else set()
    for uri in io.list_files(folder.candidates, ".parquet"):
        if uri not in valid:
            io.delete(uri)
    io.delete(folder.all_staging)
    return commit


def write(
    out_dir: str,
    attempt_id: str,
    key: str,
    rows: Rows,
    *,
    paths: Sequence[str],
    inputs: tuple[HashedInput, ...],
    rules: Rules,
    counts: FieldCounts,
    data: DataConfig,
    seed: int,
) -> Prepared:
    """Write the candidates, the hold-out and the skipped rows, and commit. UserError where nothing
    is left to score.
    """
    held_H, is_new = held_out(rows, out_dir, data.holdout, seed, rules)
    is_held_N = np.isin(rows.content_id_N, held_H) & (rows.copy_N > 0)
    is_candidate_N = (rows.copy_N > 0) & ~is_held_N
    if not is_candidate_N.any():
        raise UserError(
            f"data.holdout={data.holdout}: every usable row is held out, nothing is left to "
            "score: add data, or give another out_dir"
        )
    given_up = skipped_table.given_up(out_dir)
    folder = RunFolder(out_dir)
    parts = _PartWriter(folder.candidates, attempt_id)
    held_out_tables, skipped = [SCHEMA.empty_table()], [SKIPPED_SCHEMA.empty_table()]
    for table, at in _blocks(rows, paths):
        parts.add(table.filter(pa.array(is_candidate_N[at])).select(SCHEMA.names))
        is_first_held = is_held_N[at] & (rows.copy_N[at] == 1)
        held_out_tables.append(table.filter(pa.array(is_first_held)).select(SCHEMA.names))
        skipped.append(_skipped(table, is_held_N[at], given_up, data.excerpt_chars))
    if is_new:
        io.write_table(folder.held_out, pa.concat_tables(held_out_tables))
    io.write_table(folder.staged_skipped(attempt_id), pa.concat_tables(skipped))
    prepared = Prepared(
        num_rows=len(rows.copy_N),
        num_candidates=int(is_candidate_N.sum()),
        num_duplicates=int((is_candidate_N & (rows.copy_N > 1)).sum()),
        num_skipped=int((rows.copy_N == 0).sum()),
        num_excluded=int(is_held_N.sum()),
        inputs=inputs,
        format=rules.format,
        skipped_reasons=_count_reasons(rows, int(is_held_N.sum())),
        **counts.as_dict(),
    )
    commit = Commit(key, PREPARE_VERSION, attempt_id, parts.close(), prepared)
    record = json.dumps(asdict(commit), indent=1).encode()
    io.write_bytes(folder.prepared, record)
    finish(out_dir)
    return prepared


def _count_reasons(rows: Rows, num_held_out: int) -> dict[str, int]:
    reasons, counts = np.unique(rows.reason_N[rows.copy_N == 0].astype(str), return_counts=True)
    count_of = dict(zip(reasons.tolist(), counts.tolist(), strict=True))
    return count_of | ({"held_out": num_held_out} if num_held_out else {})


def _blocks(rows: Rows, paths: Sequence[str]) -> Iterator[tuple[pa.Table, slice]]:
    """The staged rows, a block at a time, with the columns of a candidate, reason and excerpt; and
    which they are.
    """
    sources = pa.array(paths, pa.string())
    for uri, start, end in rows.blocks:
        staged = io.read_table(uri).slice(0, end - start).combine_chunks()
        copies = rows.copy_N[start:end]
        content_ids = staged["content_id"].to_pylist()
        columns = {name: staged[name] for name in staged.schema.names if name != "file_index"}
        columns["example_id"] = pa.array(example_ids(content_ids, copies.tolist()), pa.string())
        columns["source_path"] = sources.take(staged["file_index"].combine_chunks())
        columns["is_duplicate"] = pa.array(copies > 1)
        names = [*SCHEMA.names, "reason", "excerpt"]
        yield pa.table({name: columns[name] for name in names}), slice(start, end)


def _skipped(
    table: pa.Table,
    is_held: np.ndarray,
    given_up: Mapping[str, skipped_table.LeftOut],
    excerpt_chars: int,
) -> pa.Table:
    """The rows of a block that were skipped or held out, or that an earlier attempt could not
    score.
    """
    earlier = [given_up.get(content_id) for content_id in table["content_id"].to_pylist()]
    earlier_reason = pa.array([why and why.reason for why in earlier], pa.string())
    reason = pc.if_else(pa.array(is_held), "held_out", table["reason"])
    reason = pc.coalesce(reason, earlier_reason)
    num_tries = pa.array([why and why.num_tries for why in earlier], pa.int32())
    num_tries = pc.if_else(pa.array(is_held), pa.scalar(None, pa.int32()), num_tries)
    start_of_row = pc.utf8_slice_codeunits(table["row_json"], 0, excerpt_chars)
    excerpt = pc.coalesce(table["excerpt"], start_of_row)
    columns = [table["source_path"], table["row_number"], reason, excerpt, num_tries]
    return pa.table(columns, schema=SKIPPED_SCHEMA).filter(pc.is_valid(reason))


class _PartWriter:
    """Gathers tables and writes them as parts of about PART_BYTES, named after the attempt."""

    def __init__(self, folder: str, attempt_id: str) -> None:
        self._folder = folder
        self._attempt_id = attempt_id
        self._names: list[str] = []
        self._pending: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        if table.num_rows:
            self._pending.append(table)
        if sum(pending.nbytes for pending in self._pending) >= PART_BYTES:
            self._flush()

    def close(self) -> tuple[str, ...]:
        """Write the rest; the names of the parts, in order."""
        if self._pending:
            self._flush()
        return tuple(self._names)

    def _flush(self) -> None:
        name = f"part-{self._attempt_id}-{len(self._names):05d}.parquet"
        io.write_table(io.join(self._folder, name), pa.concat_tables(self._pending), GROUP_ROWS)
        self._names.append(name)
        self._pending = []
