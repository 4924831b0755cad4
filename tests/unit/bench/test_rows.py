"""Figures as rows and as text."""

import json
from pathlib import Path

import pytest

from nuggets_ray.bench.rows import format_number, make_row, write_rows
from nuggets_ray.errors import UserError


def test_rows_are_written_as_they_are(tmp_path: Path) -> None:
    row = make_row("cut-200", "tree", "wall_s", 1.5, "s")
    write_rows(str(tmp_path / "rows.json"), [row])
    assert json.loads((tmp_path / "rows.json").read_text()) == [row]
    with pytest.raises(UserError, match="give a file in another folder"):
        write_rows(str(tmp_path), [row])


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.123456, "0.123"), (1234.5, "1230"), (2.0, "2")]
)
def test_numbers_have_three_digits(value: float | None, text: str) -> None:
    assert format_number(value) == text
