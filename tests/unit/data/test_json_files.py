"""How a json or jsonl file is laid out shows in its content, not in its name."""

import io
import json
from typing import Any

import pytest

from nuggets_ray.data.json_files import HEAD_BYTES, json_texts
from nuggets_ray.data.rows import BadRow

ROWS = [{"q": "a", "n": 1}, {"q": "b\n}", "n": [2]}]
TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


def read(text: str | bytes, is_jsonl: bool = False) -> list[Any]:
    data = text if isinstance(text, bytes) else text.encode()
    stream = io.BufferedReader(io.BytesIO(data))
    return [
        row.reason if isinstance(row, BadRow) else json.loads(row)
        for row in json_texts(stream, is_jsonl)
    ]


@pytest.mark.parametrize("is_jsonl", [True, False])
@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_or_an_object_around_the_rows(is_jsonl: bool, indent: int | None) -> None:
    def dumped(value: object) -> str:
        return json.dumps(value, indent=indent)

    assert read(dumped(ROWS), is_jsonl) == ROWS
    for wrapper in ("data", "rows", "examples", "train"):
        wrapped = {"version": "1.0", "about": {"data": [1]}, wrapper: ROWS, "end": None}
        assert read(dumped(wrapped), is_jsonl) == ROWS
    columns = {"q": ["a", "b"], "n": [1, None], "turns": [[{"role": "user"}], []]}
    assert read(dumped(columns), is_jsonl) == [
        {"q": "a", "n": 1, "turns": [{"role": "user"}]},
        {"q": "b", "n": None, "turns": []},
    ]


def test_rows_within_an_object_keep_their_text() -> None:
    stream = io.BufferedReader(io.BytesIO(b'{"data": [{"n": 1e5, "m": 0.10}]}'))
    assert list(json_texts(stream, is_jsonl=False)) == ['{"n": 1e5, "m": 0.10}']


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "a", "output": "b"},
        {"messages": TURNS},
        {"messages": TURNS, "tools": [{"name": "f"}, {"name": "g"}]},
        {"data": "no list", "output": "b"},
        {"data": ["no rows"]},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_one_object_that_is_a_row_is_one_row(row: object, indent: int | None) -> None:
    assert read(json.dumps(row, indent=indent)) == [row]


def test_rows_that_are_lists() -> None:
    lines = f"{json.dumps(TURNS)}\n{json.dumps(TURNS)}\n"
    assert read(lines, is_jsonl=True) == read(lines) == [TURNS, TURNS]
    assert read(json.dumps(TURNS) + "\n", is_jsonl=True) == [TURNS], "one conversation"
    assert read(json.dumps([TURNS, TURNS]), is_jsonl=True) == [TURNS, TURNS]


def test_a_broken_first_line_is_no_reason_to_read_all_as_an_object() -> None:
    texts = ['{"a": 1, broken', '{"data": [{"b": 2}]}', "3"]
    stream = io.BufferedReader(io.BytesIO("\n".join(texts).encode()))
    assert list(json_texts(stream, is_jsonl=True)) == texts


@pytest.mark.parametrize("is_jsonl", [True, False])
def test_files_larger_than_what_is_looked_at(is_jsonl: bool) -> None:
    long = [{"messages": [{"role": "user", "content": "x" * HEAD_BYTES}]}, {"messages": []}]
    lines = "".join(json.dumps(row) + "\n" for row in long)
    assert read(lines, is_jsonl) == long
    assert read(json.dumps({"data": long}), is_jsonl) == long
    assert read(json.dumps(long), is_jsonl) == long
    assert read("\ufeff" + json.dumps({"data": long}), is_jsonl) == long


def test_large_columns() -> None:
    size = HEAD_BYTES // 4
    columns = {"q": ["ab"] * size, "a": ["c"] * size}
    assert read(json.dumps(columns)) == [{"q": "ab", "a": "c"}] * size
