"""Files, local or in an object store (s3://, gs://): rows as a stream, tables, hashes, writes.

A write is atomic: a reader sees the old file or the new one (local: a temporary file beside it,
fsync, rename; object store: one PUT). AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL names another S3
server. Must not import ray, torch, hydra or omegaconf.
"""

import gzip
import hashlib
import io
import os
import uuid
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from nuggets_ray.config import UserError
from nuggets_ray.listing import find_files
from nuggets_ray.rows import BadRow as BadRow
from nuggets_ray.rows import array_texts, batch_texts, decode_row, line_texts

SCHEMES = ("s3", "gs")
KINDS = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
BUFFER_BYTES = 1 << 20


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


def is_remote(uri: str) -> bool:
    """Whether this is an object store's URI, not a local path."""
    return "://" in uri


def open_fs(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system of a path or URI and the path within it; UserError for another scheme."""
    if not is_remote(uri):
        return fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(uri))
    scheme, _, path = uri.partition("://")
    if scheme not in SCHEMES:
        raise UserError(f"{uri}: {scheme}:// is not supported: give a local path, s3:// or gs://")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return _object_store(scheme, path.partition("/")[0], endpoint), path.rstrip("/")


@lru_cache
def _object_store(scheme: str, bucket: str, endpoint: str | None) -> fs.FileSystem:
    if scheme == "gs":
        return fs.GcsFileSystem()
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if endpoint:
        protocol, _, address = endpoint.rstrip("/").rpartition("://")
        return fs.S3FileSystem(
            endpoint_override=address,
            scheme=protocol or "https",
            region=region or "us-east-1",
            allow_delayed_open=True,
        )
    return fs.S3FileSystem(region=region or fs.resolve_s3_region(bucket), allow_delayed_open=True)


def join(uri: str, *parts: str) -> str:
    """The path or URI of something below `uri`."""
    return "/".join([uri.rstrip("/"), *parts])


def _full_path(uri: str, path: str) -> str:
    return f"{uri.partition('://')[0]}://{path}" if is_remote(uri) else path


def exists(uri: str) -> bool:
    """Whether there is a file or folder."""
    store, path = open_fs(uri)
    return bool(store.get_file_info(path).type != fs.FileType.NotFound)


def list_files(uri_folder: str, suffix: str) -> list[str]:
    """Full paths of the files directly in a folder whose names end in `suffix`, sorted; [] without
    the folder.
    """
    store, path = open_fs(uri_folder)
    infos = store.get_file_info(fs.FileSelector(path, allow_not_found=True))
    names = sorted(info.base_name for info in infos if info.is_file)
    return [
        join(_full_path(uri_folder, path), n) for n in names if n.endswith(suffix) and n[0] != "."
    ]


def list_folders(uri_folder: str) -> list[str]:
    """Names of the folders directly in a folder, sorted; [] without the folder."""
    store, path = open_fs(uri_folder)
    infos = store.get_file_info(fs.FileSelector(path, allow_not_found=True))
    return sorted(info.base_name for info in infos if info.type == fs.FileType.Directory)


def read_bytes(uri: str) -> bytes:
    """The content of a file; FileNotFoundError without it."""
    store, path = open_fs(uri)
    with store.open_input_file(path) as stream:
        return cast(bytes, stream.read())


def write_bytes(uri: str, data: bytes | pa.Buffer) -> None:
    """Write a file atomically, making its folder."""
    store, path = open_fs(uri)
    if is_remote(uri):
        with store.open_output_stream(path, compression=None) as stream:
            stream.write(data)
        return
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        if os.path.exists(temporary):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = path  # a full disk is told without it
        raise


def read_table(uri: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A parquet file, or only some of its columns, in memory."""
    store, path = open_fs(uri)
    with store.open_input_file(path) as stream, pq.ParquetFile(stream) as file:
        return file.read(columns=None if columns is None else list(columns))


def write_table(uri: str, table: pa.Table, group_rows: int | None = None) -> None:
    """Write a parquet file (zstd) atomically, in row groups of `group_rows` (None: as few as can
    be).
    """
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=group_rows, compression="zstd")
    write_bytes(uri, sink.getvalue())


def delete(uri: str) -> None:
    """Remove a file, or a folder and all below it; nothing happens where there is none."""
    store, path = open_fs(uri)
    kind = store.get_file_info(path).type
    if kind == fs.FileType.Directory:
        store.delete_dir(path)
    elif kind != fs.FileType.NotFound:
        store.delete_file(path)


def sha256(uri: str) -> str:
    """SHA-256 of a file's bytes in hex, read as a stream."""
    store, path = open_fs(uri)
    digest = hashlib.sha256()
    with store.open_input_stream(path, compression=None) as stream:
        while chunk := stream.read(BUFFER_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def inputs_sha256(path: str, key: str = "data.path") -> str:
    """SHA-256 of the data file that `path` stands for; of several, that of theirs in order."""
    digests = [sha256(file.path) for file in list_inputs(path, key)]
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


def list_inputs(path: str, key: str = "data.path") -> list[InputFile]:
    """The data files that a file, folder (recursive) or glob (`**` too) stands for, sorted by path.

    Hidden files (. and _) of a folder are ignored, and so are other endings where there is at least
    one known. UserError, naming `key`, where nothing is found or nothing has a known ending.
    """
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
                InputFile(_full_path(path, info.path), info.size, kind, compressed, modified_ns)
            )
    if not files:
        raise UserError(
            f"{key}={path}: no file ends in .json, .jsonl (each also .gz) or .parquet: "
            "rename or convert them"
        )
    return files


def sample_rows(
    files: Sequence[InputFile], max_rows: int = 100, max_files: int = 10
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
