"""Rows -> examples, wherever the rows come from: files in any format that data.path takes, or
objects in hand.

A format that is left to be recognised is recognised from the first rows: of files (`choose_rules`)
those of each of a number of files spread over the list, of any other rows (`parse_stream`) the
first ones. Where the files have several formats, they are named together, as alpaca+messages, and
each row is read by the one that its fields fit.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from nuggets_ray.config.schema import DataConfig
from nuggets_ray.data.counts import FieldCounts
from nuggets_ray.data.formats import FORMATS, Format, fit, format_of_columns
from nuggets_ray.data.inputs import FORMAT_ROWS, InputFile, read_rows
from nuggets_ray.data.reader import Names, Read, make_names, read_row
from nuggets_ray.data.recognise import detect_format, propose_setting, set_format
from nuggets_ray.data.rows import BadRow
from nuggets_ray.data.values import SkipRow, is_too_deep
from nuggets_ray.errors import UserError
from nuggets_ray.records import Example

logger = logging.getLogger(__name__)

FORMAT_FILES = 50
"""How many files a format is recognised from."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How a row is read: its format (of several, joined by +, the first whose fields it has), our
    field -> column, and role name -> role. Pickled, they are made anew.
    """

    format: str
    columns: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    _formats: tuple[Format, ...] = field(init=False, repr=False, compare=False)
    _names: Names = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        formats = [
            format_of_columns(self.columns) if name == "columns" else FORMATS[name]
            for name in self.format.split("+")
        ]
        object.__setattr__(self, "_formats", tuple(formats))
        object.__setattr__(self, "_names", make_names(self.columns, self.roles))

    def __reduce__(self) -> tuple[Any, ...]:
        return Rules, (self.format, dict(self.columns), dict(self.roles))

    @property
    def turn_columns(self) -> tuple[str, ...]:
        """The columns that turns are looked for in."""
        return tuple(name for format in self._formats for name in format.turns)

    def read(self, value: object) -> Read:
        """The example in a decoded row, and the fields it was read from. Raises SkipRow where there
        is none: a BadRow's own reason, too_deep, not_an_object, missing_field:F, wrong_type:F,
        unknown_role:R, needs_image:F, and those of a conversation (conversation.py).
        """
        if isinstance(value, BadRow):
            raise SkipRow(value.reason)
        if is_too_deep(value):
            raise SkipRow("too_deep")
        formats = self._formats
        format = formats[0] if len(formats) == 1 else max(formats, key=lambda f: fit(value, f))
        return read_row(value, format, self._names)

    def parse(self, value: object) -> Example:
        """The example in a decoded row. Raises SkipRow where there is none."""
        return self.read(value).example


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
    """The rules for these files; with data.format=auto their first rows are looked at, a format a
    file. UserError where a file has none, or more than one fits it.
    """
    format = set_format(config.format, config.columns, config.roles) or _detect(config, files)
    return Rules(format, config.columns, config.roles)


def _detect(config: DataConfig, files: Sequence[InputFile]) -> str:
    filled = [file for file in files if file.num_bytes]
    chosen = filled[:: max(1, -(-len(filled) // FORMAT_FILES))]
    num_rows = max(5, FORMAT_ROWS // max(1, len(chosen)))
    samples = {file.path: list(islice(read_rows(file), num_rows)) for file in chosen}
    if not any(samples.values()):
        raise UserError(f"data.path={config.path} holds no rows: give a file that does")
    return _detect_each({path: rows for path, rows in samples.items() if rows}, "data")


def _detect_each(samples: Mapping[str | None, Sequence[object]], section: str) -> str:
    """The format of the first rows of each file, those that differ joined by +."""
    named = len(samples) > 1
    formats = {detect_format(rows, section, (path or "") * named) for path, rows in samples.items()}
    return "+".join(name for name in FORMATS if name in formats)


def propose(rows: Sequence[object], rules: Rules) -> str | None:
    """The setting that would help with rows that cannot be used by these rules, ready to paste."""
    return propose_setting(rows, rules.turn_columns, rules.columns, rules.roles)


def first_rows(files: Sequence[InputFile]) -> list[object]:
    """The first rows of the first files."""
    return list(islice((row for file in files for row in read_rows(file)), FORMAT_ROWS))


def file_rows(files: Iterable[InputFile]) -> Iterator[SourceRow]:
    """The rows of the files in order. UserError: a file that is broken."""
    for file in files:
        for number, value in enumerate(read_rows(file)):
            yield SourceRow(file.path, number, value)


def parse_rows(
    rows: Iterable[SourceRow], rules: Rules, counts: FieldCounts | None = None
) -> Iterator[ParsedRow]:
    """Every row with its example, or the SkipRow that says why there is none; the fields are
    counted in `counts`.
    """
    for row in rows:
        try:
            read = rules.read(row.value)
        except SkipRow as skip:
            yield row, skip
        else:
            if counts is not None:
                counts.add(read)
            yield row, read.example


def parse_stream(
    rows: Iterable[SourceRow],
    format: str,
    columns: Mapping[str, str],
    roles: Mapping[str, str] | None = None,
    section: str = "data",
    counts: FieldCounts | None = None,
) -> tuple[Rules, Iterator[ParsedRow]]:
    """The rules that `<section>.format`, `.columns` and `.roles` stand for, given the first rows,
    and every row read by them. Raises UserError as `set_format` and `detect_format` do.
    """
    stream = iter(rows)
    first = list(islice(stream, FORMAT_ROWS))
    given = set_format(format, columns, roles or {}, section)
    samples: dict[str | None, list[object]] = {}
    for row in first:
        samples.setdefault(row.source_path, []).append(row.value)
    rules = Rules(given or _detect_each(samples, section), columns, roles or {})
    return rules, parse_rows(chain(first, stream), rules, counts)
