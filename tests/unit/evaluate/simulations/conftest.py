"""The tables that stand in the README, to hold the simulations against."""

from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

import pytest

from nuggets_ray import evaluate

Table = list[list[str]]


@pytest.fixture
def readme_table() -> Callable[[str], Table]:
    """The cells of the README's table whose first column has this header, without its header."""

    def find(first_column: str) -> Table:
        readme = Path(next(iter(evaluate.__path__))) / "README.md"
        text = readme.read_text(encoding="utf-8")
        lines = [line.strip() for line in text.splitlines()]
        start = next(n for n, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
        body = takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in body]

    return find
