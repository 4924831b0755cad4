"""Reading for a caller in Python: a path or rows in hand -> examples, and the rows that hold none.

>>> from nuggets_ray import read_examples
>>> rows = [{"instruction": "Hi.", "output": "Hello."}, {"instruction": "Hm.", "output": ""}]
>>> read = read_examples(rows)
>>> read
ReadExamples(1 examples, 1 skipped, format='alpaca')
>>> read.examples[0].messages
[{'role': 'user', 'content': 'Hi.'}, {'role': 'assistant', 'content': 'Hello.'}]
>>> read.skipped
(SkippedRow(source_path=None, row_number=1, reason='empty_answer'),)
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nuggets_ray.config.schema import DataConfig
from nuggets_ray.data.examples import (
    ParsedRow,
    SourceRow,
    choose_rules,
    file_rows,
    parse_rows,
    parse_stream,
)
from nuggets_ray.data.formats import SkipRow
from nuggets_ray.data.inputs import list_inputs
from nuggets_ray.errors import UserError, named_as
from nuggets_ray.records import Example

PathOrRows = str | os.PathLike[str] | Iterable[Mapping[str, Any]]
"""Anything data.path takes, or rows in hand."""


@dataclass(frozen=True, slots=True)
class ReadExample:
    """An example and where it stood: `row_number` counts from 0 within the file, or within the rows
    given (`source_path` None).
    """

    source_path: str | None
    row_number: int
    example: Example

    @property
    def content_id(self) -> str:
        """The hash of its messages, the same in every file format: what scores are joined by."""
        return self.example.content_id

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation: [{role, content}], role system, user, assistant or tool."""
        return [
            {"role": message.role, "content": message.content} for message in self.example.messages
        ]


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that is of no use, where it stood, and why: a reason of skipped.parquet."""

    source_path: str | None
    row_number: int
    reason: str


@dataclass(frozen=True, slots=True, repr=False)
class ReadExamples:
    """What was read, in order, and how: `format` is the format that was given or recognised."""

    examples: tuple[ReadExample, ...]
    skipped: tuple[SkippedRow, ...]
    format: str

    def __repr__(self) -> str:
        counts = f"{len(self.examples)} examples, {len(self.skipped)} skipped"
        return f"ReadExamples({counts}, format={self.format!r})"

    def __len__(self) -> int:
        """How many examples there are."""
        return len(self.examples)

    def __iter__(self) -> Iterator[ReadExample]:
        return iter(self.examples)


@named_as({"data.path": "path_or_rows", "data.format": "format", "data.columns": "columns"})
def read_examples(
    path_or_rows: PathOrRows, format: str = "auto", columns: Mapping[str, str] | None = None
) -> ReadExamples:
    """The examples in a file, folder, glob, s3:// or gs:// URI, in `demo`, or in dicts in hand.

    `format` and `columns` are data.format and data.columns. All of it is held in memory. Raises
    UserError for a path that cannot be read, a format that is unknown or cannot be recognised, and
    for no rows at all.
    """
    if isinstance(path_or_rows, str | os.PathLike):
        config = DataConfig(os.fspath(path_or_rows), format, dict(columns or {}))
        files = list_inputs(config.path)
        rules = choose_rules(config, files)
        return _collect(parse_rows(file_rows(files), rules), rules.format)
    rules, parsed = parse_stream(given_rows(path_or_rows), format, columns or {})
    return _collect(parsed, rules.format)


def given_rows(rows: Iterable[Mapping[str, Any]]) -> list[SourceRow]:
    """Rows in hand, numbered. Raises UserError where there are none."""
    if isinstance(rows, Mapping):
        raise UserError("the rows are a single row: give a list of rows")
    numbered = [
        SourceRow(None, number, dict(row) if isinstance(row, Mapping) else row)
        for number, row in enumerate(rows)
    ]
    if not numbered:
        raise UserError("there are no rows: give at least one")
    return numbered


def _collect(parsed: Iterable[ParsedRow], format: str) -> ReadExamples:
    examples, skipped = [], []
    for row, result in parsed:
        if isinstance(result, SkipRow):
            skipped.append(SkippedRow(row.source_path, row.row_number, result.reason))
        else:
            examples.append(ReadExample(row.source_path, row.row_number, result))
    return ReadExamples(tuple(examples), tuple(skipped), format)
