"""The files of rows that data.path names: a listing, their hashes, their rows as a stream."""

import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq

from nuggets_ray.data.listing import find_files
from nuggets_ray.data.rows import BadRow, array_texts, batch_texts, decode_row, line_texts
from nuggets_ray.demo.files import demo_or
from nuggets_ray.errors import UserError
from nuggets_ray.io import BUFFER_BYTES, full_path, open_fs, sha256

FORMAT_ROWS = 100
"""How many rows a format is recognised from."""
KINDS = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file of data rows. `kind` is json, jsonl or parquet; `modified_ns` its time of change, 0 if
    unknown.
    """

    path: str
    num_bytes: int
    kind: str
    compressed: bool
    modified_ns: int = 0


def inputs_sha256(path: str, key: str = "data.path") -> str:
    """SHA-256 of the data file that `path` stands for; of several, that of theirs in order."""
    digests = [sha256(file.path) for file in list_inputs(path, key)]
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


def list_inputs(path: str, key: str = "data.path") -> list[InputFile]:
    """The data files that a file, folder (recursive) or glob (`**` too) stands for, sorted by path;
    for `demo` the demo's file of that key.

    Hidden files (. and _) of a folder are ignored, and so are other endings where there is at least
    one known. UserError, naming `key`, where nothing is found or nothing has a known ending.
    """
    path = demo_or(path, key)
    store, base = open_fs(path)
    try:
        infos = find_files(store, base)
    except OSError as error:
        raise UserError(f"{key}={path} cannot be read: {' '.join(str(error).split())}") from error
    if not infos:
        raise UserError(
            f"{key}={path}: there is no such file: check the path (a folder or a glob will do too)"
        )
    files = []
    for info in sorted(infos, key=lambda info: info.path):
        stem = info.path.lower().removesuffix(".gz")
        compressed = stem != info.path.lower()
        kind = KINDS.get(os.path.splitext(stem)[1])
        if kind is not None and not (compressed and kind == "parquet"):
            modified_ns = info.mtime_ns or 0
            files.append(
                InputFile(full_path(path, info.path), info.size, kind, compressed, modified_ns)
            )
    if not files:
        raise UserError(
            f"{key}={path}: no file ends in .json, .jsonl (each also .gz) or .parquet: "
            "rename or convert them"
        )
    return files


def sample_rows(
    files: Sequence[InputFile], max_rows: int = FORMAT_ROWS, max_files: int = 10
) -> list[object]:
    """The first rows of a few files spread over the list: what a format is recognised from."""
    step = max(1, -(-len(files) // max_files))
    chosen = files[::step]
    per_file = max(1, max_rows // max(1, len(chosen)))
    return [row for file in chosen for row in islice(read_rows(file), per_file)]


def read_rows(file: InputFile) -> Iterator[object]:
    """The rows in file order, decoded; a BadRow where that fails. UserError: a broken file."""
    for text in read_texts(file):
        yield text if isinstance(text, BadRow) else decode_row(text)


def read_texts(file: InputFile) -> Iterator[str | BadRow]:
    """The rows in file order, each as its own JSON text on one line, as the user wrote it.

    A .json file may hold an array or a row a line. Blank lines are no rows. A line that is not
    UTF-8 is a BadRow; one that is not JSON shows only in `decode_row`. UserError, naming the file,
    where the rest cannot be read: a broken array, parquet file or gzip stream.
    """
    reader = _parquet_texts if file.kind == "parquet" else _json_texts
    try:
        yield from reader(file)
    except (OSError, EOFError, zlib.error, pa.ArrowException, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{file.path} cannot be read: {reason}: mend the file or leave it out"
        ) from error


@contextmanager
def _open_stream(file: InputFile) -> Iterator[io.BufferedReader]:
    store, path = open_fs(file.path)
    with store.open_input_stream(path, compression=None) as raw:
        stream = gzip.GzipFile(fileobj=raw) if file.compressed else raw
        with io.BufferedReader(stream, BUFFER_BYTES) as buffered:
            yield buffered


def _json_texts(file: InputFile) -> Iterator[str | BadRow]:
    with _open_stream(file) as stream:
        is_array = stream.peek(1).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"["
        yield from array_texts(stream) if is_array and file.kind == "json" else line_texts(stream)


def _parquet_texts(file: InputFile) -> Iterator[str | BadRow]:
    store, path = open_fs(file.path)
    with (
        store.open_input_file(path) as stream,
        pq.ParquetFile(stream, buffer_size=BUFFER_BYTES) as parquet,
    ):
        for batch in parquet.iter_batches(batch_size=500, use_threads=False):
            yield from batch_texts(batch)
