"""Rows out of an open json, jsonl or parquet stream, each as its own JSON text, without holding the
file.

The text of a json or jsonl row is the user's own, cut out and put on one line, so that numbers,
order and nesting are never altered; a parquet row is written as JSON.
"""

import base64
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from nuggets_ray.data.values import NOT_TEXT

WINDOW_CHARS = 1 << 20
EXCERPT_CHARS = 1000
MAX_ROW_BYTES = 1 << 26
"""The largest row that is read: 64 MiB, some 10 million tokens. Without a limit a small compressed
file, or one that is no text, fills the memory.
"""

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not be decoded: the reason (invalid_json, invalid_unicode, invalid_value,
    too_large) and the start of its text.
    """

    reason: str
    excerpt: str


def bad_row(reason: str, text: str) -> BadRow:
    """A row that could not be decoded, by its whole text, of which the start is kept."""
    return BadRow(reason, text[:EXCERPT_CHARS].encode("utf-8", "replace").decode("utf-8"))


def decode_row(text: str) -> object:
    """The value of a row's JSON text, or a BadRow."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return bad_row("invalid_json", text)


def line_texts(stream: io.BufferedReader) -> Iterator[str | BadRow]:
    """The lines, whether they are JSON or not; blank ones are no rows, one that is not UTF-8 or too
    large is a BadRow.
    """
    is_first = True
    while line := stream.readline(MAX_ROW_BYTES):
        start = line[: 4 * EXCERPT_CHARS]
        is_whole = len(line) < MAX_ROW_BYTES or line.endswith(b"\n")
        line = (line.removeprefix(b"\xef\xbb\xbf") if is_first else line).strip()
        is_first = False
        if not is_whole and not _is_blank_to_its_end(stream):
            yield bad_row("too_large", start.decode("utf-8", "replace"))
        elif line:
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError:
                yield bad_row("invalid_unicode", start.decode("utf-8", "replace"))


def _is_blank_to_its_end(stream: io.BufferedReader) -> bool:
    """Read on to the end of a line; whether nothing but white space was left of it."""
    is_blank = True
    while rest := stream.readline(WINDOW_CHARS):
        is_blank = is_blank and not rest.strip()
        if rest.endswith(b"\n"):
            break
    return is_blank


def array_texts(
    stream: io.BufferedReader, window_chars: int = WINDOW_CHARS, is_wrapped: bool = False
) -> Iterator[str | BadRow]:
    """The elements of a JSON array, each cut out of a window of text that slides over the file.
    `is_wrapped`: the array is a field of an object, whose other fields may follow.

    Raises ValueError, with the number of rows before it, where the array is no JSON or cut off, and
    where a row is too large.
    """
    reader = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    text = reader.read(window_chars)
    start = text.index("[") + 1
    num_rows = 0
    while True:
        start = _skip_space(text, start)
        element = _next_element(text, start, num_rows)
        if element is None:
            if len(text) - start > MAX_ROW_BYTES:
                too_large = f"is larger than {MAX_ROW_BYTES} bytes"
                raise ValueError(f"row {num_rows} of the array {too_large}")
            more = reader.read(max(window_chars, len(text) - start))
            if not more:
                raise ValueError(f"the array is cut off after {num_rows} rows")
            text, start = text[start:] + more, 0
            continue
        end, after = element
        if end > start:
            num_rows += 1
            yield one_line(text[start:end])
        if text[after] == "]":
            break
        start = after + 1
    last = text[after + 1 :].rstrip()[-1:]
    while more := reader.read(window_chars):
        last = more.rstrip()[-1:] or last
    if is_wrapped and last != "}":
        raise ValueError(f"the object is cut off behind its {num_rows} rows")
    if last and not is_wrapped:
        raise ValueError(f"there is more text behind the array of {num_rows} rows")


def _next_element(text: str, start: int, num_rows: int) -> tuple[int, int] | None:
    """Where the element at `start` ends and where its comma or bracket is; None when the window
    ends before.
    """
    if start == len(text):
        return None
    if text[start] == "]":
        return start, start
    try:
        _, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        # An unterminated string is reported where it starts, everything else within a few
        # characters of the cut.
        if error.msg.startswith("Unterminated") or error.pos > len(text) - 16:
            return None
        raise ValueError(f"the array is no JSON in row {num_rows} ({error.msg})") from error
    after = _skip_space(text, end)
    if after == len(text):
        return None
    is_cut_number = after == end and text[end] in ".eE" and len(text) - end <= len("e+")
    if is_cut_number:
        return None
    if text[after] not in ",]":
        raise ValueError(f"the array is no JSON behind row {num_rows} (no comma)")
    return end, after


def _skip_space(text: str, start: int) -> int:
    match = _SPACE.match(text, start)
    return match.end() if match else start


def one_line(text: str) -> str | BadRow:
    """JSON text on one line, a BadRow where it is not Unicode."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return bad_row("invalid_unicode", text)
    # A line break within a JSON string is always escaped, so these are between the tokens.
    return re.sub(r"[ \t]*[\r\n]\s*", " ", text)


NO_VALUE = (ValueError, ArithmeticError, LookupError, TypeError, RecursionError, pa.ArrowException)
"""What pyarrow and Python raise for a value that Python has no such value for."""


def batch_texts(batch: pa.RecordBatch) -> Iterator[str | BadRow]:
    """The rows of a parquet batch as JSON: bytes as the UTF-8 text that they are, or else as base64
    in an object of one field (NOT_TEXT); dates and the like as strings. A row is a BadRow where
    text in it is not UTF-8, where Python has no such value (a date in the year 100,000), and where
    it is too large.
    """
    if batch.num_rows == 1 and batch.nbytes > MAX_ROW_BYTES:
        yield BadRow("too_large", "")
        return
    try:
        rows = batch.to_pylist()
    except MemoryError:  # pyarrow's is one of NO_VALUE too
        raise
    except NO_VALUE as error:
        if batch.num_rows == 1:
            is_text = isinstance(error, UnicodeDecodeError)
            yield BadRow("invalid_unicode" if is_text else "invalid_value", "")
            return
        for i in range(batch.num_rows):
            yield from batch_texts(batch.slice(i, 1))
        return
    for row in rows:
        yield json.dumps(row, ensure_ascii=False, default=_in_json)


def _in_json(value: object) -> object:
    """What JSON has no type for."""
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {NOT_TEXT: base64.b64encode(value).decode("ascii")}
