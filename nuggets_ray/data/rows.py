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

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not be decoded: the reason (invalid_json, invalid_unicode) and the start of
    its text.
    """

    reason: str
    excerpt: str


def decode_row(text: str) -> object:
    """The value of a row's JSON text, or a BadRow."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return BadRow("invalid_json", _excerpt(text))


def line_texts(stream: io.BufferedReader) -> Iterator[str | BadRow]:
    """The lines, whether they are JSON or not; blank ones are no rows, one that is not UTF-8 is a
    BadRow.
    """
    for i, line in enumerate(stream):
        line = (line.removeprefix(b"\xef\xbb\xbf") if i == 0 else line).strip()
        if not line:
            continue
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError:
            yield BadRow(
                "invalid_unicode", _excerpt(line[: 4 * EXCERPT_CHARS].decode("utf-8", "replace"))
            )


def array_texts(
    stream: io.BufferedReader, window_chars: int = WINDOW_CHARS, is_wrapped: bool = False
) -> Iterator[str | BadRow]:
    """The elements of a JSON array, each cut out of a window of text that slides over the file.
    `is_wrapped`: the array is a field of an object, whose other fields may follow.

    Raises ValueError, with the number of rows before it, where the array is no JSON or cut off.
    """
    reader = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    text = reader.read(window_chars)
    start = text.index("[") + 1
    num_rows = 0
    while True:
        start = _skip_space(text, start)
        element = _next_element(text, start, num_rows)
        if element is None:
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
    rest = (text[after + 1 :] + reader.read()).strip()
    if is_wrapped and not rest.endswith("}"):
        raise ValueError(f"the object is cut off behind its {num_rows} rows")
    if rest and not is_wrapped:
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
        return BadRow("invalid_unicode", _excerpt(text))
    # A line break within a JSON string is always escaped, so these are between the tokens.
    return re.sub(r"[ \t]*[\r\n]\s*", " ", text)


def batch_texts(batch: pa.RecordBatch) -> Iterator[str | BadRow]:
    """The rows of a parquet batch as JSON: bytes as the UTF-8 text that they are, or else as base64
    in an object of one field (NOT_TEXT); dates and the like as strings. Text that is not UTF-8 is a
    BadRow.
    """
    try:
        rows = batch.to_pylist()
    except UnicodeDecodeError:
        if batch.num_rows == 1:
            yield BadRow("invalid_unicode", "")
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


def _excerpt(text: str) -> str:
    return text[:EXCERPT_CHARS].encode("utf-8", "replace").decode("utf-8")
