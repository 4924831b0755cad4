"""The rows of the data on their way into the run folder: raw blocks of text, then staged blocks
with ids and tokens.

A worker writes each staged block to candidates/_staging/<attempt>/<file>-<row>.parquet; names sort
in order of source and row. A skipped row has a reason, what stands there and where
(`detail`), and an excerpt, any other its ids, text and
token counts.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray import io
from nuggets_ray.config.schema import DataConfig
from nuggets_ray.data.counts import FieldCounts
from nuggets_ray.data.examples import Rules
from nuggets_ray.data.inputs import InputFile, read_texts
from nuggets_ray.data.rows import BadRow, decode_row
from nuggets_ray.data.values import SkipRow
from nuggets_ray.errors import UserError
from nuggets_ray.prompts.prompt import Prompt, reason_to_skip

RAW_SCHEMA = pa.schema(
    [
        ("file_index", pa.int32()),
        ("row_number", pa.int64()),
        ("text", pa.string()),
        ("reason", pa.string()),
    ]
)
STAGED_SCHEMA = pa.schema(
    [
        ("file_index", pa.int32()),
        ("row_number", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("excerpt", pa.string()),
        ("content_id", pa.string()),
        ("row_json", pa.string()),
        ("num_prompt_tokens", pa.int32()),
        ("num_answer_tokens", pa.int32()),
        ("num_dropped_tokens", pa.int32()),
    ]
)
RAW_CHARS = 1 << 18
FAILED = -1
"""file_index of a raw row whose text says why its file cannot be read."""

RawRow = tuple[int, int, str, str | None]


def raw_blocks(files: Iterable[tuple[int, InputFile]], limit: int | None) -> Iterator[pa.Table]:
    """The rows of some (file_index, file) in order, at most `limit`, in blocks of RAW_CHARS of
    text.
    """
    rows: list[RawRow] = []
    num_chars = 0
    for row in islice(_raw_rows(files), limit):
        rows.append(row)
        num_chars += len(row[2])
        if num_chars >= RAW_CHARS:
            yield _table(rows, RAW_SCHEMA)
            rows, num_chars = [], 0
    if rows:
        yield _table(rows, RAW_SCHEMA)


def _raw_rows(files: Iterable[tuple[int, InputFile]]) -> Iterator[RawRow]:
    for file_index, file in files:
        try:
            for row_number, text in enumerate(read_texts(file)):
                if isinstance(text, BadRow):
                    yield file_index, row_number, text.excerpt, text.reason
                else:
                    yield file_index, row_number, text, None
        except UserError as error:
            # An exception of a worker reaches the driver as a page of Ray's traceback.
            yield FAILED, 0, str(error), None


def failure(raw: pa.Table) -> str | None:
    """Why a file of this raw block cannot be read, None where all can."""
    failed = raw.filter(pc.equal(raw["file_index"], FAILED)) if raw.num_rows else raw
    return failed["text"][0].as_py() if failed.num_rows else None


def stage_block(
    raw: pa.Table, rules: Rules, data: DataConfig, prompt: Prompt
) -> tuple[pa.Table, FieldCounts]:
    """Parse and tokenise the rows of a raw block: a table of STAGED_SCHEMA with the same rows, and
    the fields that they were read from.

    Of `data` on_too_long and excerpt_chars count.
    """
    counts = FieldCounts()
    columns = [raw[name].to_pylist() for name in RAW_SCHEMA.names]
    rows: list[tuple[object, ...]] = []
    for file_index, row_number, text, reason in zip(*columns, strict=True):
        try:
            if reason is not None:
                raise SkipRow(reason)
            staged = _stage_row(text, rules, prompt, data.on_too_long, counts)
            rows.append((file_index, row_number, None, None, None, *staged))
        except SkipRow as skip:
            excerpt = text[: data.excerpt_chars]
            rows.append((file_index, row_number, skip.reason, skip.detail, excerpt, *[None] * 5))
    return _table(rows, STAGED_SCHEMA), counts


def _stage_row(
    text: str, rules: Rules, prompt: Prompt, on_too_long: str, fields: FieldCounts
) -> tuple[str, str, int, int, int]:
    """What a candidate holds of a row. Raises SkipRow as the format does, too_long, and
    no_answer_left: the limit cuts the whole answer off.
    """
    read = rules.read(decode_row(text))
    fields.add(read)
    example = read.example
    encoding = prompt.demonstration(example)
    if reason := reason_to_skip(encoding, on_too_long):
        raise SkipRow(reason)
    num_prompt_tokens = encoding.num_tokens - encoding.num_answer_tokens
    counts = (num_prompt_tokens, encoding.num_answer_tokens, encoding.num_dropped_tokens)
    return (example.content_id, text, *counts)


def write_staged(folder: str, staged: pa.Table) -> str:
    """Write a staged block under the name of its first row; returns its URI."""
    first = f"{staged['file_index'][0].as_py():08d}-{staged['row_number'][0].as_py():012d}"
    uri = io.join(folder, f"{first}.parquet")
    io.write_table(uri, staged)
    return uri


def _table(rows: Sequence[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.Table.from_arrays(
        [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)],
        schema=schema,
    )
