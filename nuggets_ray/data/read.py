"""Reading for a caller in Python: a path or rows in hand -> examples, and the rows that hold none.

>>> from nuggets_ray import read_examples
>>> rows = [{"instruction": "Hi.", "output": "Hello."}, {"instruction": "Hm.", "output": ""}]
>>> read = read_examples(rows)
>>> read
ReadExamples(1 examples, 1 skipped, format='alpaca')
>>> read.examples[0].messages[1]
{'role': 'assistant', 'content': 'Hello.', 'trains': True}
>>> read.fields_read
{'instruction': 1, 'output': 1}
>>> read.skipped
(SkippedRow(source_path=None, row_number=1, reason='empty_answer'),)
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nuggets_ray.config.schema import DataConfig
from nuggets_ray.data.counts import FieldCounts
from nuggets_ray.data.examples import (
    ParsedRow,
    SourceRow,
    choose_rules,
    file_rows,
    parse_rows,
    parse_stream,
)
from nuggets_ray.data.inputs import list_inputs
from nuggets_ray.data.values import SkipRow
from nuggets_ray.errors import UserError, named_as
from nuggets_ray.records import Example, Message

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
    def messages(self) -> list[dict[str, Any]]:
        """The conversation: [{role, content, trains}], role system, user, assistant or tool, and
        reasoning_content and tool_calls where a turn has them. `trains`: the turn is an answer,
        whose tokens count in scoring and in training.
        """
        return [_message(message) for message in self.example.messages]


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that is of no use, where it stood, and why: a reason of skipped.parquet."""

    source_path: str | None
    row_number: int
    reason: str


@dataclass(frozen=True, slots=True, repr=False)
class ReadExamples:
    """What was read, in order, and how: `format` is the format that was given or recognised.

    `fields_read` and `fields_not_read` are {field: examples that hold something there}, of fields
    that the examples were read from, and of those that were left; `messages[].weight` is a field of
    turns.
    """

    examples: tuple[ReadExample, ...]
    skipped: tuple[SkippedRow, ...]
    format: str
    fields_read: Mapping[str, int] = field(default_factory=dict)
    fields_not_read: Mapping[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        counts = f"{len(self.examples)} examples, {len(self.skipped)} skipped"
        return f"ReadExamples({counts}, format={self.format!r})"

    def __len__(self) -> int:
        """How many examples there are."""
        return len(self.examples)

    def __iter__(self) -> Iterator[ReadExample]:
        return iter(self.examples)


@named_as(
    {"data.path": "path_or_rows", "data.format": "format", "data.columns": "columns"}
    | {"data.roles": "roles"}
)
def read_examples(
    path_or_rows: PathOrRows,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    roles: Mapping[str, str] | None = None,
) -> ReadExamples:
    """The examples in a file, folder, glob, s3:// or gs:// URI, in `demo`, or in dicts in hand.

    `format`, `columns` and `roles` are data.format, data.columns and data.roles, so that a row is
    read as the jobs read it. All of it is held in memory. Raises
    UserError for a path that cannot be read, a format that is unknown or cannot be recognised, and
    for no rows at all.
    """
    counts = FieldCounts()
    if isinstance(path_or_rows, str | os.PathLike):
        path = os.fspath(path_or_rows)
        config = DataConfig(path, format, dict(columns or {}), roles=dict(roles or {}))
        files = list_inputs(config.path)
        rules = choose_rules(config, files)
        return _collect(parse_rows(file_rows(files), rules, counts), rules.format, counts)
    rows = given_rows(path_or_rows)
    rules, parsed = parse_stream(rows, format, columns or {}, roles, counts=counts)
    return _collect(parsed, rules.format, counts)


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


def _collect(parsed: Iterable[ParsedRow], format: str, counts: FieldCounts) -> ReadExamples:
    examples, skipped = [], []
    for row, result in parsed:
        if isinstance(result, SkipRow):
            skipped.append(SkippedRow(row.source_path, row.row_number, result.reason))
        else:
            examples.append(ReadExample(row.source_path, row.row_number, result))
    fields = dict(counts.read.most_common()), dict(counts.left.most_common())
    return ReadExamples(tuple(examples), tuple(skipped), format, *fields)


def _message(message: Message) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning:
        turn["reasoning_content"] = message.reasoning
    if message.tool_calls:
        turn["tool_calls"] = [
            {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return turn | {"trains": message.is_answer}
