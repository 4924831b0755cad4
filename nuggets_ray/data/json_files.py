"""The rows of a json or jsonl file, which may be laid out otherwise than its ending says.

An array of rows; a row a line; one object with the rows in a list of it ({"data": [...]}); one
object of columns ({"instruction": [...], "output": [...]}); one object that is a row. The start of
the file tells which, and only columns are held in memory.
"""

import io
import json
import re
from collections.abc import Iterator

from nuggets_ray.data.rows import BadRow, array_texts, line_texts, one_line
from nuggets_ray.data.streams import resumed

HEAD_BYTES = 1 << 20
"""How much of a file is looked at to tell its layout."""
MAX_OBJECT_BYTES = 1 << 28
"""The largest file of columns, which are held in memory: 256 MiB."""
WRAPPERS = ("data", "rows", "examples", "train")
"""Names of the list of rows in a file that is one object."""
ROLE_KEYS = ("role", "from")
"""Fields of a turn: a list of such objects on the only line of a .jsonl file is one row."""

_DECODER = json.JSONDecoder()


def json_texts(stream: io.BufferedReader, is_jsonl: bool) -> Iterator[str | BadRow]:
    """The rows, each as its own JSON text on one line. `is_jsonl`: the file is named so.

    Raises ValueError for an array that is broken, and for columns of unequal length.
    """
    head = stream.read(HEAD_BYTES)
    is_whole = len(head) < HEAD_BYTES
    stream = resumed(head, stream)
    text = head.decode("utf-8-sig", "surrogateescape").lstrip(" \t\r\n")
    line, _, rest = text.partition("\n")
    value = _decoded(line)
    is_one_value = value is not None and not rest.strip()
    if text.startswith("["):
        is_lines = value is not None and (not is_one_value or (is_jsonl and _is_turns(value)))
        yield from line_texts(stream) if is_lines else array_texts(stream)
    elif text.startswith("{") and (value is None or is_one_value):
        yield from _object_texts(stream, head, is_whole, is_jsonl)
    else:
        yield from line_texts(stream)


def _decoded(text: str) -> object:
    """The value of JSON text, None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_turns(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(turn, dict) and any(key in turn for key in ROLE_KEYS) for turn in value
    )


def _object_texts(
    stream: io.BufferedReader, head: bytes, is_whole: bool, is_jsonl: bool
) -> Iterator[str | BadRow]:
    """The rows of a file that is one object, or whose first line is a row that is no JSON, or
    longer than the head.
    """
    at = _wrapped_at(head)
    if at is not None:
        stream.read(at)
        yield from array_texts(stream, is_wrapped=True)
        return
    if not is_whole and (
        is_jsonl or not re.match(rb'(?:\xef\xbb\xbf)?\s*\{\s*"[^"]*"\s*:\s*\[', head)
    ):
        yield from line_texts(stream)  # no columns, and too large to be one row
        return
    data = stream.read(MAX_OBJECT_BYTES + 1)
    if len(data) > MAX_OBJECT_BYTES:
        raise ValueError(
            f"it is one object of more than {MAX_OBJECT_BYTES} bytes: write it as a row a line"
        )
    text = data.decode("utf-8-sig", "surrogateescape")
    value = _decoded(text)
    if not isinstance(value, dict):
        yield from line_texts(io.BufferedReader(io.BytesIO(data)))
    elif _is_columns(value):
        yield from _column_texts(value)
    else:
        yield one_line(text.strip())


def _wrapped_at(head: bytes) -> int | None:
    """Where the list of rows begins in a file that is one object, in bytes; None: it has none.

    The fields before it must lie in the head.
    """
    mark = len(head) - len(head.removeprefix(b"\xef\xbb\xbf"))
    text = head[mark:].decode("utf-8", "surrogateescape")
    try:
        at = text.index("{") + 1
        while True:
            key, at = _DECODER.raw_decode(text, _skip_space(text, at))
            at = _skip_space(text, _skip_space(text, at) + len(":"))
            if key in WRAPPERS and text[at] == "[" and text[_skip_space(text, at + 1)] in "{[":
                return mark + len(text[:at].encode("utf-8", "surrogateescape"))
            _, at = _DECODER.raw_decode(text, at)
            at = _skip_space(text, at)
            if text[at] != ",":
                return None
            at += 1
    except (ValueError, IndexError, RecursionError):
        return None


def _skip_space(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at


def _is_columns(value: dict[str, object]) -> bool:
    """Whether an object is the columns of a table: lists of values. A row whose fields are all
    lists holds turns, which are objects.
    """
    return len(value) > 1 and all(
        isinstance(column, list) and not any(isinstance(cell, dict) for cell in column)
        for column in value.values()
    )


def _column_texts(columns: dict[str, object]) -> Iterator[str | BadRow]:
    lists = {name: column for name, column in columns.items() if isinstance(column, list)}
    sizes = {name: len(column) for name, column in lists.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"its columns are of unequal length ({sizes})")
    for cells in zip(*lists.values(), strict=True):
        yield one_line(json.dumps(dict(zip(lists, cells, strict=True)), ensure_ascii=False))
