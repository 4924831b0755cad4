"""What a study leaves: a page of Markdown with its pictures, and the same numbers as JSON and as a
table, under studies/NAME/.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from nuggets_ray import io
from nuggets_ray.markdown import markdown_table
from nuggets_ray.run.layout import RunFolder


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page, with the sentence above it."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Picture:
    """`name` of the file without its ending; `text` for those who do not see it."""

    name: str
    text: str
    png: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """A study as it is told: `ran` what was run, `meaning` three sentences on what the numbers
    mean, `remarks` what to know of them; `numbers` a row each, for programs."""

    title: str
    ran: Mapping[str, str]
    meaning: Sequence[str]
    tables: Sequence[Table]
    pictures: Sequence[Picture]
    numbers: Sequence[Mapping[str, Any]]
    remarks: Sequence[str] = field(default_factory=list)


def page_text(report: Report) -> str:
    """The page."""
    lines = [f"# {report.title}", "", "\n\n".join(report.meaning), "", "## What was run", ""]
    lines += [f"* {name}: {value}" for name, value in report.ran.items()]
    lines += [f"* {remark}" for remark in report.remarks]
    for picture in report.pictures:
        lines += ["", f"![{picture.text}]({picture.name}.png)"]
    for table in report.tables:
        lines += ["", table.caption, "", markdown_table(table.header, table.rows)]
    return "\n".join(lines) + "\n"


def write_report(out_dir: str, name: str, report: Report) -> list[str]:
    """Write studies/NAME/ and return what was written, the page first."""
    folder = RunFolder(out_dir).study(name)
    for picture in report.pictures:
        io.write_bytes(folder.picture(picture.name), picture.png)
    io.write_table(folder.table, _as_table(report.numbers))
    told = {
        "title": report.title,
        "ran": dict(report.ran),
        "meaning": list(report.meaning),
        "remarks": list(report.remarks),
        "numbers": [dict(row) for row in report.numbers],
    }
    io.write_json(folder.numbers, told)
    io.write_bytes(folder.page, page_text(report).encode("utf-8"))
    pictures = [folder.picture(picture.name) for picture in report.pictures]
    return [folder.page, *pictures, folder.numbers, folder.table]


def _as_table(numbers: Sequence[Mapping[str, Any]]) -> pa.Table:
    """A column for every key that any row has."""
    names = dict.fromkeys(name for row in numbers for name in row)
    return pa.table({name: [row.get(name) for row in numbers] for name in names})
