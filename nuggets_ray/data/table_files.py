"""The rows of a table (csv, tsv, parquet, Arrow), each written as JSON, a batch at a time."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nuggets_ray.data.rows import MAX_ROW_BYTES, BadRow, bad_row, batch_texts
from nuggets_ray.io import BUFFER_BYTES, open_fs

BATCH_ROWS = 500
MAX_BATCH_BYTES = 1 << 29
"""How much text a batch of parquet's rows may be at the most, however little its file is."""
ARROW_FILE = b"ARROW1"
"""What a file of Arrow's random access format begins with; `datasets` writes its streaming one."""


def csv_texts(stream: io.BufferedReader, delimiter: str) -> Iterator[str | BadRow]:
    """The lines below the header as objects of text, since a type guessed from a column would
    turn 007 into 7. A line with more or fewer cells than the header is a BadRow.

    Python's csv, as pyarrow's refuses a whole file for one such line. Raises ValueError for broken
    quotes, for two columns of one name, and for a row that is too large.
    """
    # csv's own limit of 131,072 characters is less than some answers have
    csv.field_size_limit(MAX_ROW_BYTES)
    lines = _Lines(io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline=""))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            raise ValueError(f"two of its columns have the name {twice[0]!r}")
        for cells in reader:
            lines.num_chars = 0
            if cells:
                yield _csv_text(header, cells, delimiter)
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error


def _csv_text(header: list[str], cells: list[str], delimiter: str) -> str | BadRow:
    text = json.dumps(dict(zip(header, cells, strict=False)), ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return bad_row("invalid_unicode", text)
    return text if len(cells) == len(header) else bad_row("invalid_csv", delimiter.join(cells))


class _Lines:
    """Lines of text, of which those of one row may not be larger than a row. `num_chars`: how much
    was read since it was set to 0.
    """

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self.num_chars = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._text.readline(MAX_ROW_BYTES)
        if not line:
            raise StopIteration
        self.num_chars += len(line)
        if self.num_chars >= MAX_ROW_BYTES:
            raise ValueError(f"a row is larger than {MAX_ROW_BYTES} bytes")
        return line


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
        for group in range(parquet.num_row_groups):
            # reading raises where a column's description is damaged; asking for it ends the process
            next(parquet.iter_batches(batch_size=1, row_groups=[group], use_threads=False), None)
            rows = _batch_rows(parquet.metadata.row_group(group))
            yield from parquet.iter_batches(batch_size=rows, row_groups=[group], use_threads=False)


def _batch_rows(group: Any) -> int:
    """How many rows of a group at a time: a text that a dictionary holds once may be that of every
    row."""
    columns = (group.column(i) for i in range(group.num_columns))
    largest = sum(int(c.total_uncompressed_size) for c in columns if c.has_dictionary_page)
    return max(1, min(BATCH_ROWS, MAX_BATCH_BYTES // max(1, largest)))


def _arrow_batches(uri: str) -> Iterator[pa.RecordBatch]:
    """The rows of an Arrow file in order, as `datasets` keeps and saves them, or as Feather."""
    store, path = open_fs(uri)
    with store.open_input_file(path) as stream:
        is_file = stream.read(len(ARROW_FILE)) == ARROW_FILE
        stream.seek(0)
        for batch in _file_batches(stream) if is_file else pa.ipc.open_stream(stream):
            _check_structure(batch)
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)


def _check_structure(batch: pa.RecordBatch) -> None:
    """Raise ArrowInvalid where offsets point outside of a damaged batch, which reading its values
    would follow. Text that is not UTF-8 is told by its row.
    """
    for column in batch.columns:
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            if "UTF8" not in str(error):
                raise
            column.view(_as_bytes(column.type)).validate(full=True)


def _as_bytes(kind: pa.DataType) -> pa.DataType:
    """The same type with bytes in place of text."""
    if pa.types.is_string(kind):
        return pa.binary()
    if pa.types.is_large_string(kind):
        return pa.large_binary()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_as_bytes(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_as_bytes(kind.value_type)))
    if pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_as_bytes(kind.value_type)))
    return kind


def _file_batches(stream: Any) -> Iterator[pa.RecordBatch]:
    reader = pa.ipc.open_file(stream)
    for index in range(reader.num_record_batches):
        yield reader.get_batch(index)


TABLES: dict[str, Callable[[str], Iterator[pa.RecordBatch]]] = {
    "parquet": _parquet_batches,
    "arrow": _arrow_batches,
}
"""The batches of rows in a file, in order, by its kind."""
