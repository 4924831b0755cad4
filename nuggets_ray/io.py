"""Files, local or in an object store (s3://, gs://): bytes, tables, hashes, atomic writes.

A write is atomic: a reader sees the old file or the new one (local: a temporary file beside it,
fsync, rename; object store: one PUT). AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL names another S3
server. One that is out of order, or asks to slow down, is asked again for about a minute.
"""

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from nuggets_ray.errors import UserError

logger = logging.getLogger(__name__)

SCHEMES = ("s3", "gs")
NUM_TRIES = 10
"""Of a request to S3, the later ones up to 20 seconds apart: some 70 seconds."""
PIECE_BYTES = 2**24
"""Of a table that is read or written a piece at a time."""
BATCH_ROWS = 1024
"""A piece has so many at least, where the file has."""
BUFFER_BYTES = 1 << 20
DAMAGED = (
    *(ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError),
    pa.ArrowException,
)
"""What is raised by a file that is cut off, or holds something else than it should."""


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
    store = _s3(bucket, endpoint, NUM_TRIES)
    try:
        _s3(bucket, endpoint, 2).get_file_info(bucket)
    except OSError as error:
        if "ACCESS_DENIED" not in str(error):  # which may be of the bucket, not of what is in it
            at = f" at {endpoint}" if endpoint else ""
            logger.warning(
                "s3://%s%s: %s; what may pass is asked for again for about a minute",
                bucket,
                at,
                error,
            )
    return store


def _s3(bucket: str, endpoint: str | None, num_tries: int) -> fs.FileSystem:
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    asking = {
        "allow_delayed_open": True,
        "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=num_tries),
    }
    if endpoint:
        protocol, _, address = endpoint.rstrip("/").rpartition("://")
        return fs.S3FileSystem(
            endpoint_override=address,
            scheme=protocol or "https",
            region=region or "us-east-1",
            **asking,
        )
    return fs.S3FileSystem(region=region or fs.resolve_s3_region(bucket), **asking)


def join(uri: str, *parts: str) -> str:
    """The path or URI of something below `uri`."""
    return "/".join([uri.rstrip("/"), *parts])


def full_path(uri: str, path: str) -> str:
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
        join(full_path(uri_folder, path), n) for n in names if n.endswith(suffix) and n[0] != "."
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


@contextmanager
def telling_damage(uri: str) -> Iterator[None]:
    """For code that reads what a file of ours holds: UserError naming the file where it holds
    something else, as it was cut off, or written by someone else.
    """
    try:
        yield
    except MemoryError:  # pyarrow's is one of its own errors too
        raise
    except (*DAMAGED, OSError) as error:
        # of a bad page pyarrow says OSError without a number, as it does of a store out of reach
        if isinstance(error, OSError) and (error.errno is not None or is_remote(uri)):
            raise
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{uri} is damaged, or not as this program writes it ({type(error).__name__}: {reason})"
            ": bring it back from a copy, or go on in another out_dir"
        ) from error


def read_json(uri: str) -> dict[str, Any]:
    """The object in a JSON file; FileNotFoundError without it, UserError for anything else."""
    with telling_damage(uri):
        return dict(json.loads(read_bytes(uri)).items())


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
    """A parquet file, or only some of its columns, in memory; UserError for a damaged one."""
    store, path = open_fs(uri)
    with (
        telling_damage(uri),
        store.open_input_file(path) as stream,
        pq.ParquetFile(stream) as file,
    ):
        return file.read(columns=None if columns is None else list(columns))


def read_pieces(uri: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """A parquet file, or only some of its columns, in order and in pieces of about PIECE_BYTES, so
    that no file fills the memory; UserError for a damaged one."""
    store, path = open_fs(uri)
    with (
        telling_damage(uri),
        store.open_input_file(path) as stream,
        pq.ParquetFile(stream) as file,
    ):
        held: list[pa.RecordBatch] = []
        num_bytes = 0
        # what the file says of its columns' sizes is not asked: of a damaged one that is fatal
        for batch in file.iter_batches(BATCH_ROWS, columns=None if columns is None else [*columns]):
            held.append(batch)
            num_bytes += batch.nbytes
            if num_bytes >= PIECE_BYTES:
                yield pa.Table.from_batches(held)
                held, num_bytes = [], 0
        if held:
            yield pa.Table.from_batches(held)


def write_table(uri: str, table: pa.Table, group_rows: int | None = None) -> None:
    """Write a parquet file (zstd) atomically, in row groups of `group_rows` (None: of about
    PIECE_BYTES).
    """
    sink = pa.BufferOutputStream()
    rows = group_rows or max(1, table.num_rows * PIECE_BYTES // max(1, table.nbytes))
    pq.write_table(table, sink, row_group_size=rows, compression="zstd")
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


def write_json(uri: str, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_bytes(uri, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode("utf-8"))
