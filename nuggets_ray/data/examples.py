"""Rows -> examples, wherever the rows come from: files in any format that data.path takes, or
objects in hand.

A format that is left to be recognised is recognised from the first rows: of files (`choose_rules`)
those of a few files spread over the list, of any other rows (`parse_stream`) the first ones.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from nuggets_ray.config.schema import DataConfig
from nuggets_ray.data.formats import SkipRow, parse, resolve_format
from nuggets_ray.data.inputs import FORMAT_ROWS, InputFile, read_rows, sample_rows
from nuggets_ray.errors import UserError
from nuggets_ray.records import Example

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rules:
    """How a row is read: its format, and our field -> column where that is `columns`."""

    format: str
    columns: Mapping[str, str]

    def parse(self, value: object) -> Example:
        """The example in a decoded row. Raises SkipRow where there is none."""
        return parse(value, self.format, self.columns)


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A row, decoded (a BadRow where that failed), and where it stands: `row_number` counts from 0
    within the file, or within rows in hand, whose `source_path` is None.
    """

    source_path: str | None
    row_number: int
    value: object

    @property
    def place(self) -> str:
        """For a message."""
        where = self.source_path or "the given rows"
        return f"row {self.row_number + 1} (counted from 1) of {where}"


ParsedRow = tuple[SourceRow, Example | SkipRow]
"""A row with the example in it, or the reason why there is none."""


def choose_rules(config: DataConfig, files: Sequence[InputFile]) -> Rules:
    """`find_rules`, and the log says which."""
    rules = find_rules(config, files)
    logger.info("data.format=%s", rules.format)
    return rules


def find_rules(config: DataConfig, files: Sequence[InputFile]) -> Rules:
    """The rules for these files; with data.format=auto the first rows are looked at."""
    is_auto = config.format == "auto" and not config.columns
    sample = sample_rows([file for file in files if file.num_bytes]) if is_auto else []
    if is_auto and not sample:
        raise UserError(f"data.path={config.path} holds no rows: give a file that does")
    return Rules(resolve_format(config.format, config.columns, sample), config.columns)


def file_rows(files: Iterable[InputFile]) -> Iterator[SourceRow]:
    """The rows of the files in order. UserError: a file that is broken."""
    for file in files:
        for number, value in enumerate(read_rows(file)):
            yield SourceRow(file.path, number, value)


def parse_rows(rows: Iterable[SourceRow], rules: Rules) -> Iterator[ParsedRow]:
    """Every row with its example, or the SkipRow that says why there is none."""
    for row in rows:
        try:
            yield row, rules.parse(row.value)
        except SkipRow as skip:
            yield row, skip


def parse_stream(
    rows: Iterable[SourceRow], format: str, columns: Mapping[str, str], section: str = "data"
) -> tuple[Rules, Iterator[ParsedRow]]:
    """The rules that `<section>.format` and `<section>.columns` stand for, given the first rows,
    and every row read by them. Raises UserError as `resolve_format` does.
    """
    stream = iter(rows)
    first = list(islice(stream, FORMAT_ROWS))
    sample = [row.value for row in first]
    rules = Rules(resolve_format(format, columns, sample, section), columns)
    return rules, parse_rows(chain(first, stream), rules)
