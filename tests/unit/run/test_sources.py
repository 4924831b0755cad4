"""Where rows are from, by fields of the original rows."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from shown_run import readable_run

from nuggets_ray import io
from nuggets_ray.errors import UserError
from nuggets_ray.run.joined import read_scored
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.sources import read_field, read_sources


@pytest.fixture
def out_dir(tmp_path: object) -> str:
    return readable_run(f"{tmp_path}/run")


def change(out_dir: str, column: str, change: Callable[[int, Any], Any]) -> None:
    """Make another value of a column of each candidate row: change(place, value)."""
    part = io.join(RunFolder(out_dir).candidates, "part-0.parquet")
    table = io.read_table(part)
    values = [change(place, value) for place, value in enumerate(table[column].to_pylist())]
    io.write_table(part, table.set_column(table.column_names.index(column), column, [values]))


def with_fields(out_dir: str, fields: Callable[[int], dict[str, Any]]) -> None:
    change(out_dir, "row_json", lambda place, row: json.dumps(json.loads(row) | fields(place)))


def test_sources_are_the_fields_that_tell_rows_apart(out_dir: str) -> None:
    with_fields(out_dir, lambda place: {"language": "en" if place % 3 else "de", "source": "one"})
    table = read_scored(out_dir).table
    category, language = read_sources(out_dir, table)
    assert (category.name, language.name) == ("category", "language")
    values = [category.values[value] for value in category.value_N]
    numbers = [int(name[1:3]) for name in table["example_id"].to_pylist()]
    assert values == ["maths" if number < 8 else "trivia" for number in numbers]


def test_without_such_a_field_sources_are_the_files(out_dir: str) -> None:
    with_fields(out_dir, lambda place: {"category": f"a category of its own {place}"})
    assert read_sources(out_dir, read_scored(out_dir).table) == [], "one file tells nothing"
    change(out_dir, "source_path", lambda place, _: f"/data/{'b' if place % 3 else 'a'}.jsonl")
    [sources] = read_sources(out_dir, read_scored(out_dir).table)
    assert sources.name == "file"
    assert sorted(sources.values) == ["/data/a.jsonl", "/data/b.jsonl"]


def test_a_field_may_hold_numbers_lie_in_another_and_be_missing(out_dir: str) -> None:
    with_fields(out_dir, lambda place: {"meta": {"level": place % 2}} if place < 10 else {})
    table = read_scored(out_dir).table
    levels = read_field(out_dir, table, "meta.level")
    assert [levels.values[value] for value in levels.value_N] == ["0", "1"] * 5 + ["(none)"] * 3
    assert set(read_field(out_dir, table, "source_path").values) == {"/data/rows.jsonl"}


def test_a_field_that_no_row_has_is_answered_with_those_that_there_are(out_dir: str) -> None:
    table = read_scored(out_dir).table
    with pytest.raises(UserError, match=r"select\.per=topic: .*instruction, output, category, and"):
        read_field(out_dir, table, "topic")


def test_a_field_with_a_value_for_every_row_is_refused(
    out_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nuggets_ray.run.sources.MAX_VALUES", 5)
    with pytest.raises(UserError, match=r"select\.per=instruction has more than 5 values"):
        read_field(out_dir, read_scored(out_dir).table, "instruction")
