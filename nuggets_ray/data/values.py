"""Values of a row as texts, lists and objects, and the reason where one is none of them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nuggets_ray.data.spellings import is_absent, is_empty

MAX_DEPTH = 100
"""How deep a row is nested at the most: deeper ones end Python's recursion, here or at the next
reader.
"""
MAX_REASON_CHARS = 200
NOT_TEXT = "bytes that are not UTF-8 (base64)"
"""The one field of the object that stands, in a row's JSON text, for bytes that are no text."""


class SkipRow(Exception):
    """This row cannot be used. `reason` is a machine word, after a colon the field or the name that
    is at fault (missing_field:output, unknown_role:clerk); `detail` says what stands there, and
    where: "null at turn 2".
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        # both may quote the row, and are written down
        self.reason, self.detail = (
            text[:MAX_REASON_CHARS].encode("utf-8", "replace").decode("utf-8")
            for text in (reason, detail)
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return SkipRow, (self.reason, self.detail)


class Fields:
    """A row, or a turn, that remembers which of its fields were read."""

    __slots__ = ("read", "values")

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.read: list[str] = []

    def take(self, names: Sequence[str]) -> tuple[str, Any]:
        """(name, value) of the first of these fields that holds something; ("", None) for none."""
        values = self.values
        for name in names:
            value = values.get(name)
            if value is not None and not is_empty(value):
                self.read.append(name)
                return name, value
        return "", None

    def need(self, names: Sequence[str], default: str = "") -> tuple[str, Any]:
        """(name, value) of the first of these fields that is there, those that hold something
        first. Raises SkipRow(missing_field:...), naming `default` or else the first of them.
        """
        name, value = self.take(names)
        if not name:
            name = next((name for name in names if name in self.values), "")
            if not name:
                raise SkipRow(f"missing_field:{default or names[0]}")
            self.read.append(name)
            value = self.values[name]
        return name, value

    def left(self) -> list[str]:
        """The fields that hold something and were not read."""
        values, read = self.values, self.read
        return [
            str(name).encode("utf-8", "replace").decode("utf-8")
            for name in values
            if name not in read and not is_empty(values[name])
        ]


def is_too_deep(value: Any) -> bool:
    """Whether lists and objects in it are nested deeper than MAX_DEPTH."""
    level = [value] if isinstance(value, dict | list | tuple) else []
    for _ in range(MAX_DEPTH + 1):
        level = [
            item
            for holder in level
            for item in (holder.values() if isinstance(holder, dict) else holder)
            if isinstance(item, dict | list | tuple)
        ]
        if not level:
            return False
    return True


def text_of(value: Any, field: str, place: str = "") -> str:
    """A text as it is, a number as its JSON text, UTF-8 bytes decoded. Raises SkipRow."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and not is_absent(value):
        return json.dumps(value)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise SkipRow("invalid_unicode", f"{field}{place}") from None
    if isinstance(value, dict) and value.keys() == {NOT_TEXT}:
        raise SkipRow("invalid_unicode", f"{field}{place}")
    raise wrong_type(value, field, place)


def check_unicode(*texts: str) -> None:
    """Raise SkipRow where half a surrogate pair is in one of them, which no file can hold."""
    try:
        for text in texts:
            text.encode("utf-8")
    except UnicodeEncodeError:
        raise SkipRow("invalid_unicode") from None


def wrong_type(value: Any, field: str, place: str = "") -> SkipRow:
    """The reason that a field holds something else than it should; `place` such as " at turn 2"."""
    if is_absent(value):
        what = "null"
    else:
        kinds = {bool: "true or false", str: "a text", list: "a list", dict: "an object"}
        what = kinds.get(type(value), type(value).__name__)
    return SkipRow(f"wrong_type:{field}", what + place)


def list_in(value: Any) -> list[Any] | None:
    """A list, or the list that a JSON text holds; None for anything else."""
    if isinstance(value, list | tuple):
        return list(value)
    parsed = _json(value, "[")
    return parsed if isinstance(parsed, list) else None


def object_in(value: Any) -> dict[str, Any] | None:
    """An object, or the object that a JSON text holds; None for anything else."""
    if isinstance(value, dict):
        return value
    parsed = _json(value, "{")
    return parsed if isinstance(parsed, dict) else None


def _json(value: Any, start: str) -> Any:
    if not isinstance(value, str) or value.lstrip()[:1] != start:
        return None
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return None if is_too_deep(parsed) else parsed


def json_text(value: Any) -> str:
    """One JSON text for one value, whoever wrote it: without the nulls that a parquet file puts
    where another row's object has a field.
    """
    return json.dumps(_without_nulls(value), ensure_ascii=False, default=str)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_nulls(item) for item in value]
    return value
