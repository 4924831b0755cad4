"""What prepare decides between reading and writing: the ids of all rows, what is wrong, what is
held out.

The driver holds about 100 bytes a row here (ids, reasons, copy numbers), never a row.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import pyarrow as pa

from nuggets_ray import io
from nuggets_ray.config.schema import DataConfig
from nuggets_ray.data.examples import Rules
from nuggets_ray.data.inputs import InputFile
from nuggets_ray.errors import UserError
from nuggets_ray.prepare.ids import copy_numbers, draw_held_out
from nuggets_ray.run.held_out import held_out_ids
from nuggets_ray.run.layout import RunFolder

PREPARE_VERSION = 2
"""Raise when a change of the code changes what is written from the same data and settings."""

MAX_REASONS = 5
"""How many reasons an error about skipped rows names, the most frequent first."""


@dataclass(frozen=True, slots=True)
class HashedInput:
    """A data file that rows were read from."""

    path: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """What prepare made of the data: num_rows = num_candidates + num_skipped + num_excluded.

    `num_candidates` counts the duplicates too; `num_excluded` the rows held out; `skipped_reasons`
    both kinds. `fields_read` and `fields_not_read`: {field: rows that hold something there}, of
    rows that hold an example. `num_greetings`: rows that the assistant opens, which is context.
    """

    num_rows: int
    num_candidates: int
    num_duplicates: int
    num_skipped: int
    num_excluded: int
    inputs: tuple[HashedInput, ...]
    format: str
    skipped_reasons: dict[str, int]
    fields_read: dict[str, int] = field(default_factory=dict)
    fields_not_read: dict[str, int] = field(default_factory=dict)
    num_greetings: int = 0


@dataclass(frozen=True, slots=True)
class Rows:
    """The ids of all N rows of the data, in order of source and row, and what becomes of each.

    `blocks` are (URI of the staged block, its first and one past its last row here). `reason_N` is
    None for a row that is not skipped, `copy_N` 0 for one that is.
    """

    blocks: tuple[tuple[str, int, int], ...]
    file_index_N: np.ndarray
    reason_N: np.ndarray
    content_id_N: np.ndarray
    copy_N: np.ndarray


def prepare_key(
    files: Sequence[InputFile], config: DataConfig, prompt_fingerprint: str, seed: int
) -> str:
    """A hash of everything that decides what prepare writes: the same key, the same tables."""
    data = {key: value for key, value in asdict(config).items() if key != "retry"}
    parts = {
        "version": PREPARE_VERSION,
        "files": [(file.path, file.num_bytes, file.modified_ns) for file in files],
        "data": data,
        "prompt": prompt_fingerprint,
        "seed": seed,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read_staged(uris: Sequence[str], limit: int | None) -> Rows:
    """Read the ids of the staged blocks, and number the copies, among the first `limit` rows.

    Raises RuntimeError where a row is missing or there twice.
    """
    blocks = []
    tables = []
    end = 0
    for uri in sorted(uris):
        table = io.read_table(uri, columns=["file_index", "row_number", "reason", "content_id"])
        start, end = end, end + table.num_rows
        if limit is not None and end > limit:
            end = limit
        if end > start:
            blocks.append((uri, start, end))
            tables.append(table.slice(0, end - start))
    if not tables:
        empty = np.empty(0, object)
        return Rows((), empty, empty, empty.astype("S32"), empty.astype(int))
    whole = pa.concat_tables(tables)
    _check_order(whole["file_index"].to_numpy(), whole["row_number"].to_numpy())
    content_id_N = np.concatenate(
        [t["content_id"].fill_null("").to_numpy().astype("S32") for t in tables]
    )
    return Rows(
        tuple(blocks),
        whole["file_index"].to_numpy(),
        whole["reason"].to_numpy(),
        content_id_N,
        copy_numbers(content_id_N),
    )


def _check_order(file_index_N: np.ndarray, row_number_N: np.ndarray) -> None:
    same_file = np.diff(file_index_N, prepend=-1) == 0
    expected_N = np.where(same_file, np.roll(row_number_N, 1) + 1, 0)
    wrong = np.flatnonzero((row_number_N != expected_N) | (np.diff(file_index_N, prepend=0) < 0))
    if len(wrong):
        place = f"row {row_number_N[wrong[0]]} of file {file_index_N[wrong[0]]}"
        raise RuntimeError(f"the staged blocks do not follow on each other at {place}")


def check_rows(
    rows: Rows,
    config: DataConfig,
    paths: Sequence[str],
    format: str,
    find_setting: Callable[[], str | None],
) -> None:
    """UserError where there are no rows, only bad ones, or more bad ones than
    data.max_skipped_fraction, with the setting that would help (of `find_setting`).
    """
    num_rows = len(rows.copy_N)
    if num_rows == 0:
        raise UserError(f"data.path={config.path} holds no rows: give a file that does")
    counts = Counter(reason for reason in rows.reason_N if reason is not None)
    num_skipped = counts.total()
    if num_skipped < num_rows and num_skipped <= config.max_skipped_fraction * num_rows:
        return
    examples = "; ".join(
        f"{count} {reason}, such as {_describe(rows, reason, paths)}"
        for reason, count in counts.most_common(MAX_REASONS)
    )
    way_out = f"mend them, or set {find_setting() or 'data.format or data.columns'}"
    if num_skipped < num_rows:
        way_out += f", or raise data.max_skipped_fraction={config.max_skipped_fraction}"
    raise UserError(
        f"data.path={config.path}: {num_skipped} of {num_rows} rows cannot be used "
        f"({examples}; read as {format}): {way_out}"
    )


def _describe(rows: Rows, reason: str, paths: Sequence[str]) -> str:
    place = int(np.flatnonzero(rows.reason_N == reason)[0])
    uri, start, _ = next(block for block in rows.blocks if block[1] <= place < block[2])
    columns = ["row_number", "detail", "excerpt"]
    [row] = io.read_table(uri, columns=columns).slice(place - start, 1).to_pylist()
    path = paths[rows.file_index_N[place]]
    what = f"{row['detail']} in " if row["detail"] else ""
    return f"{what}row {row['row_number']} of {path} {row['excerpt']}".rstrip()


def held_out(
    rows: Rows, out_dir: str, num: int, seed: int, rules: Rules
) -> tuple[np.ndarray, bool]:
    """The contents of the hold-out, `num` rows, shape (H,) S32, and whether it was drawn just now.

    It is drawn once in the life of a run folder: UserError where data.holdout was another then.
    """
    if not io.exists(RunFolder(out_dir).held_out):
        return draw_held_out(rows.content_id_N, num, seed), True
    drawn = held_out_ids(out_dir, rules)
    if len(drawn) != num:
        raise UserError(
            f"data.holdout={num}: the hold-out of out_dir={out_dir} was "
            f"drawn with data.holdout={len(drawn)}, and the other rows may have been scored: "
            "give that, or another out_dir"
        )
    return drawn, False
