"""Anchors from a file: its first rows in order, and an error, never a skip, for a bad one."""

import json
from pathlib import Path
from typing import Any

import pytest

from nuggets_ray.anchors.file import load_examples
from nuggets_ray.config.schema import AnchorsConfig
from nuggets_ray.errors import UserError


def alpaca(number: int) -> dict[str, Any]:
    return {"instruction": f"Say {number}.", "input": "", "output": f"{number}"}


def write(path: Path, rows: list[Any]) -> AnchorsConfig:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return AnchorsConfig(method="file", num=None, path=str(path))


def answers(config: AnchorsConfig) -> list[str]:
    return [example.messages[-1].text for example in load_examples(config)]


def test_takes_the_first_rows_in_file_order(tmp_path: Path) -> None:
    config = write(tmp_path / "anchors.jsonl", [alpaca(number) for number in (3, 1, 2)])
    assert answers(config) == ["3", "1", "2"]
    assert answers(AnchorsConfig(method="file", num=2, path=config.path)) == ["3", "1"]


def test_a_bad_row_beyond_the_first_ones_is_not_read(tmp_path: Path) -> None:
    config = write(tmp_path / "anchors.jsonl", [alpaca(1), alpaca(2), '{"instruction":'])
    assert answers(AnchorsConfig(method="file", num=2, path=config.path)) == ["1", "2"]


def test_several_files_count_as_one(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [alpaca(1)])
    write(tmp_path / "b.jsonl", [alpaca(2), alpaca(3)])
    assert answers(AnchorsConfig(method="file", num=2, path=str(tmp_path))) == ["1", "2"]


def test_copies_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = alpaca(1) | {"source": "elsewhere"}
    config = write(tmp_path / "anchors.jsonl", [alpaca(1), alpaca(2), copy])
    assert answers(config) == ["1", "2"]
    assert "row 3 " in caplog.text


def test_a_column_mapping(tmp_path: Path) -> None:
    path = tmp_path / "anchors.jsonl"
    write(path, [{"question": "Say 7.", "reply": "7"}])
    columns = {"instruction": "question", "output": "reply"}
    assert answers(AnchorsConfig(method="file", num=1, path=str(path), columns=columns)) == ["7"]


@pytest.mark.parametrize(
    ("bad_row", "reason"),
    [
        ({"instruction": "Say 3."}, "missing_field:output"),
        (alpaca(3) | {"output": "  "}, "empty_answer"),
        ('{"instruction": "Say', "invalid_json"),
        (["no", "object"], "not_an_object"),
    ],
)
def test_a_bad_row_is_an_error_with_file_row_and_reason(
    tmp_path: Path, bad_row: Any, reason: str
) -> None:
    rows = [*(alpaca(number) for number in range(20)), bad_row]
    config = write(tmp_path / "anchors.jsonl", rows)
    with pytest.raises(UserError, match=rf"row 21 .*anchors\.jsonl .*{reason}.*alpaca"):
        load_examples(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": None}, r"anchors\.path is missing"),
        ({"path": "/nowhere/anchors.jsonl"}, r"anchors\.path=/nowhere/anchors\.jsonl"),
        ({"num": 3}, r"anchors\.num=3 is more than the 2 rows .*anchors\.num=null"),
        ({"format": "dolly"}, r"row 1 .*missing_field:response, read as dolly"),
        ({"format": "docx"}, r"anchors\.format=docx"),
    ],
)
def test_user_errors_name_the_key(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "anchors.jsonl"
    write(path, [alpaca(1), alpaca(2)])
    settings: dict[str, Any] = {"method": "file", "num": None, "path": str(path)}
    with pytest.raises(UserError, match=message):
        load_examples(AnchorsConfig(**(settings | changes)))


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "anchors.jsonl"
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"has no rows"):
        load_examples(AnchorsConfig(method="file", num=None, path=str(path)))


def test_the_demo_has_sixteen_anchors() -> None:
    assert len(load_examples(AnchorsConfig(method="file", num=None, path="demo"))) == 16


def test_the_official_anchors_load(test_data: Path) -> None:
    path = test_data / "anchors" / "alpaca_gpt4_kmeans_100.json"
    assert len(load_examples(AnchorsConfig(method="file", num=10, path=str(path)))) == 10
    assert len(load_examples(AnchorsConfig(method="file", num=None, path=str(path)))) == 100
