"""The rows of a table (csv, tsv, parquet, Arrow), each written as JSON, a batch at a time."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nuggets_ray.data.rows import BadRow, batch_texts
from nuggets_ray.io import BUFFER_BYTES, open_fs

BATCH_ROWS = 500
MAX_CELL_CHARS = 1 << 30
"""csv's own limit of 131,072 characters is less than some answers have."""
ARROW_FILE = b"ARROW1"
"""What a file of Arrow's random access format begins with; `datasets` writes its streaming one."""


def csv_texts(stream: io.BufferedReader, delimiter: str) -> Iterator[str | BadRow]:
    """The lines below the header as objects of text, since a type guessed from a column would
    turn 007 into 7. A line with more or fewer cells than the header is a BadRow.

    Python's csv, as pyarrow's refuses a whole file for one such line. Raises ValueError for broken
    quotes and for two columns of one name.
    """
    csv.field_size_limit(MAX_CELL_CHARS)
    text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            raise ValueError(f"two of its columns have the name {twice[0]!r}")
        for cells in reader:
            if cells:
                yield _csv_text(header, cells, delimiter)
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error


def _csv_text(header: list[str], cells: list[str], delimiter: str) -> str | BadRow:
    text = json.dumps(dict(zip(header, cells, strict=False)), ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return BadRow("invalid_unicode", text.encode("utf-8", "replace").decode("utf-8"))
    return text if len(cells) == len(header) else BadRow("invalid_csv", delimiter.join(cells))


def table_texts(uri: str, kind: str) -> Iterator[str | BadRow]:
    """The rows of a file of one of TABLES."""
    for batch in TABLES[kind](uri):
        yield from batch_texts(batch)


def _parquet_batches(uri: str) -> Iterator[pa.RecordBatch]:
    """The rows of a parquet file in order."""
    store, path = open_fs(uri)
    with (
        store.open_input_file(path) as stream,
        pq.ParquetFile(stream, buffer_size=BUFFER_BYTES) as parquet,
    ):
        yield from parquet.iter_batches(batch_size=BATCH_ROWS, use_threads=False)


def _arrow_batches(uri: str) -> Iterator[pa.RecordBatch]:
    """The rows of an Arrow file in order, as `datasets` keeps and saves them, or as Feather."""
    store, path = open_fs(uri)
    with store.open_input_file(path) as stream:
        is_file = stream.read(len(ARROW_FILE)) == ARROW_FILE
        stream.seek(0)
        for batch in _file_batches(stream) if is_file else pa.ipc.open_stream(stream):
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)


def _file_batches(stream: Any) -> Iterator[pa.RecordBatch]:
    reader = pa.ipc.open_file(stream)
    for index in range(reader.num_record_batches):
        yield reader.get_batch(index)


TABLES: dict[str, Callable[[str], Iterator[pa.RecordBatch]]] = {
    "parquet": _parquet_batches,
    "arrow": _arrow_batches,
}
"""The batches of rows in a file, in order, by its kind."""
