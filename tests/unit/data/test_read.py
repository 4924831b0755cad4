"""Reading from Python: files and rows in hand give the same examples."""

import doctest
import json
from collections import UserDict
from pathlib import Path
from typing import Any

import pytest

from nuggets_ray import read_examples
from nuggets_ray.data import read
from nuggets_ray.data.read import SkippedRow
from nuggets_ray.errors import UserError

ROWS = [
    {"instruction": "Add.", "input": "1 and 2", "output": "3"},
    {"instruction": "no answer", "output": " "},
    {"instruction": "Say hi.", "output": "Hi."},
]


def test_the_doctest_runs() -> None:
    [test] = doctest.DocTestFinder(recurse=False).find(read)
    assert doctest.DocTestRunner().run(test) == doctest.TestResults(failed=0, attempted=6)


def test_a_file_and_rows_in_hand_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    of_file, in_hand = read_examples(path), read_examples(iter(ROWS))
    assert of_file.format == in_hand.format == "alpaca"
    assert [e.messages for e in of_file.examples] == [e.messages for e in in_hand.examples]
    assert [e.content_id for e in of_file.examples] == [e.content_id for e in in_hand.examples]
    assert [e.row_number for e in of_file.examples] == [0, 2]
    assert {e.source_path for e in of_file.examples} == {str(path)}
    assert of_file.skipped == (SkippedRow(str(path), 1, "empty_answer"),)
    assert in_hand.skipped == (SkippedRow(None, 1, "empty_answer"),)


def test_messages_are_what_the_content_id_is_of() -> None:
    conversation = read_examples([ROWS[0]]).examples[0].messages
    assert conversation == [
        {"role": "user", "content": "Add.\n1 and 2"},
        {"role": "assistant", "content": "3"},
    ]
    again = read_examples([{"messages": conversation}])
    assert again.format == "messages"
    assert again.examples[0].content_id == read_examples([ROWS[0]]).examples[0].content_id


def test_a_format_and_columns_that_are_given() -> None:
    rows = [{"q": "Say hi.", "a": "Hi."}, UserDict({"q": "Say no.", "a": "No."})]
    columns = {"instruction": "q", "output": "a"}
    examples = read_examples(rows, columns=columns).examples
    assert [e.messages[1]["content"] for e in examples] == ["Hi.", "No."]
    assert read_examples(ROWS, "dolly").skipped[0].reason == "missing_field:response"


def test_the_demo_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUGGETS_CACHE", str(tmp_path))
    demo = read_examples("demo")
    assert len(demo.examples) > 100 and not demo.skipped


@pytest.mark.parametrize(
    ("rows", "format", "message"),
    [
        ([], "auto", "there are no rows"),
        ([], "alpaca", "there are no rows"),
        ({"instruction": "a", "output": "b"}, "auto", "a single row"),
        ([1, 2], "auto", "none of the first 2 rows is a JSON object"),
        (ROWS, "docx", "^format=docx is unknown"),
        ("nowhere.jsonl", "auto", "^path_or_rows=nowhere.jsonl: there is no such file"),
    ],
)
def test_a_mistake_is_one_sentence(rows: Any, format: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_examples(rows, format)


def test_what_was_read_is_a_sequence_of_its_examples() -> None:
    rows = [{"instruction": f"Double {n}.", "output": f"{2 * n}"} for n in range(3)]
    read = read_examples([*rows, {"instruction": "Hm.", "output": ""}])
    assert len(read) == 3 and list(read) == list(read.examples)
