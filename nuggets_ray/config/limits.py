"""The range or the choices of a key, written where the key is, and the one check of them.

`limit: int | None = number(None, at_least=1)` is the field of a dataclass with None as its default;
what it may hold stands in the field's metadata. Imports nothing of the package but the error.
"""

import math
from collections.abc import Sequence
from dataclasses import Field, field, fields, is_dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

from nuggets_ray.errors import UserError

T = TypeVar("T")


def number(default: T, *, at_least: float | None = None, at_most: float | None = None) -> T:
    """A field that holds a number in this range, both ends included."""
    return field(default=default, metadata={"at_least": at_least, "at_most": at_most})


def share(default: float, *, at_least: float | None = None) -> float:
    """A field that holds a number from 0 to 1."""
    return field(default=default, metadata={"at_least": at_least, "is_share": True})


def choice(default: str, *others: str) -> str:
    """A field that holds one of these texts."""
    return field(default=default, metadata={"one_of": (default, *others)})


def usual(default: Any, *others: str) -> Any:
    """A field that mostly holds one of these texts; what else it may be is checked elsewhere."""
    return field(default=default, metadata={"one_of": (default, *others), "is_open": True})


def choices(*allowed: str) -> list[str]:
    """A field that holds a list of some of these texts: all, where nothing is said."""
    return field(default_factory=lambda: list(allowed), metadata={"each_of": allowed})


def some(*allowed: str) -> list[str]:
    """A field that holds a list of some of these texts: none, where nothing is said."""
    return field(default_factory=list, metadata={"each_of": allowed})


def allowed_values(schema: type, name: str) -> tuple[str, ...]:
    """The texts that a field of a section takes, alone or in its list."""
    [metadata] = [item.metadata for item in fields(schema) if item.name == name]
    allowed: tuple[str, ...] = metadata.get("one_of") or metadata["each_of"]
    return allowed


def check_limits(section: Any, prefix: str = "") -> None:
    """Raise UserError for the first value, of a section and those below it, that is out of its
    range or outside its choices, or a number that no key can hold.
    """
    for item in fields(section):
        value, key = getattr(section, item.name), prefix + item.name
        if is_dataclass(value):
            check_limits(value, f"{key}.")
        elif isinstance(value, int | float):
            _check_number(key, value, item)
        elif "one_of" in item.metadata and not item.metadata.get("is_open"):
            _check_choice(key, value, item.metadata["one_of"])
        elif "each_of" in item.metadata:
            _check_each(key, value, item.metadata["each_of"])


def _check_number(key: str, value: float, item: "Field[Any]") -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{key}={value}: must be a finite number")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:  # fits no array
        raise UserError(f"{key}={value}: is too large a number")
    at_least, at_most = item.metadata.get("at_least"), item.metadata.get("at_most")
    if at_least is not None and value < at_least:
        raise UserError(f"{key}={value}: must be at least {at_least}")
    if item.metadata.get("is_share") and not 0 <= value <= 1:
        raise UserError(f"{key}={value}: must be between 0 and 1")
    if at_most is not None and value > at_most:
        raise UserError(f"{key}={value}: must be at most {at_most}")


def _check_choice(key: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        meant = _closest(value, allowed)
        raise UserError(_not_among(key, value, allowed, meant))


def _check_each(key: str, values: Sequence[str], allowed: Sequence[str]) -> None:
    for value in values:
        if value not in allowed:
            meant = _closest(value, allowed)
            kept = [one for one in values if one in allowed and one != meant]
            whole = f"[{','.join([*kept, meant])}]" if meant else ""
            raise UserError(_not_among(key, value, allowed, whole))


def _closest(value: str, allowed: Sequence[str]) -> str:
    return next(iter(get_close_matches(value.lower(), allowed, n=1)), "")


def _not_among(key: str, value: str, allowed: Sequence[str], meant: str) -> str:
    way_out = f"; did you mean {key}={meant}?" if meant else ""
    return f"{key}={value}: take one of {', '.join(allowed)}{way_out}"
