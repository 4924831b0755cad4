"""What a bench gives besides its text: figures as rows, and the file that holds them.

Imports little, so that it loads on a bare machine.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nuggets_ray.errors import UserError

Row = dict[str, Any]


def make_row(case: str, contender: str, metric: str, value: Any, unit: str) -> Row:
    """A row of bench.out."""
    return {"case": case, "contender": contender, "metric": metric, "value": value, "unit": unit}


def format_number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits; `-` where there is none."""
    if value is None:
        return "-"
    return np.format_float_positional(
        value, precision=digits, unique=False, fractional=False, trim="-"
    )


def write_rows(path: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """All rows as a JSON array. Raises UserError where the file cannot be written."""
    write_text("bench.out", path, json.dumps(rows, indent=1) + "\n", "w")


def write_text(key: str, path: str, text: str, mode: str) -> None:
    """Write or append to the file of the key. Raises UserError where that cannot be."""
    try:
        with open(path, mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UserError(
            f"{key}={path} cannot be written ({error.strerror}): give a file in another folder"
        ) from error
