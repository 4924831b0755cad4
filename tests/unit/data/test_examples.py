"""From rows of any source to examples: numbered, read by one format, none lost."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from nuggets_ray.config.schema import DataConfig
from nuggets_ray.data.counts import FieldCounts
from nuggets_ray.data.examples import (
    Rules,
    SourceRow,
    choose_rules,
    file_rows,
    first_rows,
    parse_rows,
    parse_stream,
    propose,
)
from nuggets_ray.data.inputs import list_inputs
from nuggets_ray.data.values import SkipRow
from nuggets_ray.errors import UserError
from nuggets_ray.records import Example


def alpaca(number: int) -> dict[str, str]:
    return {"instruction": f"Say {number}.", "output": str(number)}


def write(path: Path, *rows: Any) -> None:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")


def test_rows_are_numbered_within_their_file(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", alpaca(1), "", alpaca(2))
    write(tmp_path / "b.jsonl", alpaca(3))
    rows = list(file_rows(list_inputs(str(tmp_path))))
    assert [(Path(row.source_path or "").name, row.row_number) for row in rows] == [
        ("a.jsonl", 0),
        ("a.jsonl", 1),
        ("b.jsonl", 0),
    ]
    assert rows[1].place == f"row 2 (counted from 1) of {tmp_path / 'a.jsonl'}"
    assert SourceRow(None, 0, {}).place == "row 1 (counted from 1) of the given rows"


def test_every_row_comes_back_with_its_example_or_the_reason(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", alpaca(1), "{broken", ["a"], {"instruction": "x"}, alpaca(2))
    parsed = list(parse_rows(file_rows(list_inputs(str(tmp_path))), Rules("alpaca", {})))
    results = [
        result.reason if isinstance(result, SkipRow) else result.messages[-1].content
        for _, result in parsed
    ]
    assert results == ["1", "invalid_json", "not_an_object", "missing_field:output", "2"]
    assert [row.row_number for row, _ in parsed] == [0, 1, 2, 3, 4]


def test_a_format_is_recognised_from_the_first_rows_and_no_row_is_lost() -> None:
    rows = [SourceRow(None, n, alpaca(n)) for n in range(250)]
    rules, parsed = parse_stream(iter(rows), "auto", {})
    assert rules == Rules("alpaca", {})
    numbers = [row.row_number for row, result in parsed if isinstance(result, Example)]
    assert numbers == list(range(250))


def test_a_column_mapping_needs_no_format() -> None:
    columns = {"instruction": "question", "output": "reply"}
    rules, parsed = parse_stream(
        [SourceRow(None, 0, {"question": "q", "reply": "a"})], "auto", columns
    )
    assert rules.format == "columns"
    [(_, example)] = parsed
    assert isinstance(example, Example) and example.messages[1].content == "a"


def test_an_error_names_the_section_of_the_keys() -> None:
    rows = [SourceRow(None, 0, {"question": "q"})]
    with pytest.raises(UserError, match=r"anchors\.format=auto: no format fits the first 1 rows"):
        parse_stream(rows, "auto", {}, section="anchors")


def test_the_rules_of_files_come_from_several_of_them(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / f"{name}.jsonl", *map(alpaca, range(3)))
    config = DataConfig(str(tmp_path))
    assert choose_rules(config, list_inputs(config.path)) == Rules("alpaca", {})
    write(tmp_path / "b.jsonl", *({"prompt": "p", "completion": "c"} for _ in range(3)))
    rules = choose_rules(config, list_inputs(config.path))
    assert rules == Rules("alpaca+prompt_completion")
    texts = [
        [message.text for message in result.messages]
        for _, result in parse_rows(file_rows(list_inputs(config.path)), rules)
        if isinstance(result, Example)
    ]
    assert len(texts) == 9 and texts[3:6] == [["p", "c"]] * 3, "each row by its own fields"


def test_two_formats_that_fit_one_file_are_asked_about_by_its_name(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", alpaca(1))
    write(tmp_path / "b.jsonl", alpaca(2) | {"response": "2"})
    with pytest.raises(UserError, match=r"b\.jsonl: the first 1 rows fit both alpaca and dolly"):
        choose_rules(DataConfig(str(tmp_path)), list_inputs(str(tmp_path)))


def test_rules_read_alike_after_they_were_pickled() -> None:
    rules = Rules("messages+preference", {"system": "persona"}, {"clerk": "assistant"})
    again = pickle.loads(pickle.dumps(rules))
    turns = [{"role": "user", "content": "q"}, {"role": "clerk", "content": "a"}]
    for row in ({"messages": turns, "persona": "s"}, turns, {"prompt": "q", "chosen": "a"}):
        assert again.read(row) == rules.read(row)
    assert again == rules


def test_fields_are_counted_for_rows_that_hold_an_example() -> None:
    counts = FieldCounts()
    rows = [SourceRow(None, n, alpaca(n) | {"id": n}) for n in range(3)]
    rows.append(SourceRow(None, 3, {"instruction": "q", "id": 3}))
    assert len(list(parse_rows(rows, Rules("alpaca"), counts))) == 4
    assert counts.read == {"instruction": 3, "output": 3}
    assert counts.left == {"id": 3}


def test_the_setting_that_would_help_is_found_in_the_rows(tmp_path: Path) -> None:
    turns = [{"from": "customer", "value": "q"}, {"from": "clerk", "value": "a"}]
    write(tmp_path / "a.jsonl", {"conversations": turns})
    files = list_inputs(str(tmp_path))
    setting = propose(first_rows(files), choose_rules(DataConfig(str(tmp_path)), files))
    assert setting == "'data.roles={customer: user, clerk: assistant}'"


def test_a_given_format_is_not_looked_at(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", {"other": 1})
    config = DataConfig(str(tmp_path), format="dolly")
    assert choose_rules(config, list_inputs(config.path)) == Rules("dolly", {})


def test_files_without_rows(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl")
    config = DataConfig(str(tmp_path))
    with pytest.raises(UserError, match="holds no rows: give a file that does"):
        choose_rules(config, list_inputs(config.path))


@pytest.mark.parametrize(
    ("key", "num_rows"), [("data.path", 60), ("anchors.path", 16), ("evaluate.held_out_path", 10)]
)
def test_the_demo_has_rows_of_its_own_under_each_key(
    key: str, num_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUGGETS_CACHE", str(tmp_path))
    files = list_inputs("demo", key)
    examples = [r for _, r in parse_rows(file_rows(files), Rules("alpaca", {}))]
    assert len(examples) >= num_rows
    assert all(isinstance(example, Example) for example in examples)


def test_demo_is_a_path_like_any_other_under_other_keys() -> None:
    with pytest.raises(UserError, match="evaluate.prompts_path=demo: there is no such file"):
        list_inputs("demo", "evaluate.prompts_path")
