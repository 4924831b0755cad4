"""Reading from Python: files and rows in hand give the same examples."""

import doctest
import json
from collections import UserDict
from pathlib import Path
from typing import Any

import pytest

from nuggets_ray import read_examples
from nuggets_ray.config.compose import load
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
    assert doctest.DocTestRunner().run(test) == doctest.TestResults(failed=0, attempted=7)


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
        {"role": "user", "content": "Add.\n1 and 2", "trains": False},
        {"role": "assistant", "content": "3", "trains": True},
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


def test_what_carries_meaning_is_read_and_the_rest_is_told() -> None:
    turns = [
        {"role": "user", "content": "High water?"},
        {"role": "assistant", "content": None, "tool_calls": [{"name": "tide", "arguments": {}}]},
        {"role": "tool", "content": "14:05", "tool_call_id": "1"},
        {"role": "assistant", "content": "At 14:05.", "reasoning_content": "It says so."},
        {"role": "user", "content": "Thanks."},
        {"role": "assistant", "content": "Go away.", "weight": 0},
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "At your service.", "weight": 1},
    ]
    read = read_examples([{"messages": turns, "system": "Be kind.", "id": 7}])
    [example] = read.examples
    assert [m["content"] for m in example.messages if m["trains"]] == [
        *("", "At 14:05.", "At your service.")
    ]
    call = {"type": "function", "function": {"name": "tide", "arguments": "{}"}}
    assert example.messages[2]["tool_calls"] == [call]
    assert example.messages[4]["reasoning_content"] == "It says so."
    carried = ("tool_calls", "reasoning_content", "weight")
    assert dict(read.fields_read) == dict.fromkeys(
        ("messages", "system", *(f"messages[].{name}" for name in carried)), 1
    )
    assert dict(read.fields_not_read) == {"id": 1, "messages[].tool_call_id": 1}
    again = read_examples([{"messages": example.messages}]).examples[0]
    assert again.content_id == example.content_id, "what is returned is read as it was"


def test_roles_of_your_own() -> None:
    turns = [{"from": "customer", "value": "Tea?"}, {"from": "clerk", "value": "Two coins."}]
    rows = [{"conversations": turns}]
    assert [row.reason for row in read_examples(rows).skipped] == ["unknown_role:customer"]
    read = read_examples(rows, roles={"customer": "user", "Clerk": "assistant"})
    assert [m["role"] for m in read.examples[0].messages] == ["user", "assistant"]


NOT_OF_READING = {
    *("selected_parquet_schema", "selected_parquet_values_equal_source", "training_text"),
    *("training_rows", "training_skipped", "candidates", "skipped_because"),
    "load_dataset_parquet_messages",
}
"""What other parts are expected to do with a row, which their own tests see to."""


def faults_of(path: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Which of the expectations in an expected.json reading does not meet."""
    record = json.loads(path.read_text("utf-8"))
    settings, expected = record["settings"], record["expected"]
    columns = settings.get("data.columns")
    if "command_line" in settings:
        columns = load([settings["command_line"]], ["data"]).data.columns
    caplog.clear()
    with caplog.at_level("INFO"):
        read = read_examples(path.parent / settings["data.path"], columns=columns)
    messages = [row.messages for row in read.examples]
    rows = [[[m["role"], m["content"]] for m in turns] for turns in messages]
    told = caplog.text + repr((read.fields_read, read.fields_not_read, read.skipped))
    met = {
        "rows": lambda wanted: sorted(rows) == sorted(wanted),
        "rows_exact": lambda wanted: rows == wanted,
        "num_distinct": lambda wanted: len({row.content_id for row in read.examples}) == wanted,
        "num_skipped": lambda wanted: len(read.skipped) == wanted,
        "answers": lambda wanted: (
            [m["content"] for turns in messages for m in turns if m["trains"]] == wanted
        ),
        "contains": lambda wanted: all(
            any(role == m["role"] and part in json.dumps(m) for m in turns)
            for turns, parts in zip(messages, wanted, strict=True)
            for role, part in parts
        ),
        "told": lambda wanted: all(word in told for word in wanted),
    }
    faults = [key for key, wanted in expected.items() if key in met and not met[key](wanted)]
    unknown = expected.keys() - met.keys() - NOT_OF_READING
    or_told = all(word in told for word in expected.get("or_told", ["never said"]))
    return faults * (not or_told) + sorted(key for key in unknown if not key.startswith("or_"))


def test_files_as_people_have_them(field_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = sorted(field_data.glob("*.expected.json"))
    faults = {path.name: found for path in paths if (found := faults_of(path, caplog))}
    assert paths and faults == {}


def test_what_was_read_is_a_sequence_of_its_examples() -> None:
    rows = [{"instruction": f"Double {n}.", "output": f"{2 * n}"} for n in range(3)]
    read = read_examples([*rows, {"instruction": "Hm.", "output": ""}])
    assert len(read) == 3 and list(read) == list(read.examples)
