"""Which format is set or recognised, and the sentence where none is: why, and what to paste."""

import shlex
from typing import Any

import pytest

from nuggets_ray.config.compose import load
from nuggets_ray.data.examples import Rules
from nuggets_ray.data.recognise import detect_format, mapping_text, propose_setting, set_format
from nuggets_ray.errors import UserError
from nuggets_ray.records import Message

Row = dict[str, Any]
ALPACA: Row = {"instruction": "q", "input": "", "output": "a"}
DOLLY: Row = {"instruction": "q", "context": "", "response": "a"}
TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


def refusal(rows: list[Any], section: str = "data") -> str:
    with pytest.raises(UserError) as error:
        detect_format(rows, section)
    return str(error.value)


def test_defects_of_a_row_do_not_hide_its_format() -> None:
    defects: list[Row] = [{"output": ""}, {"output": None}, {"output": 3}, {"instruction": []}]
    assert detect_format([ALPACA | defect for defect in defects]) == "alpaca"
    assert detect_format([{"messages": [{"role": "user", "content": None}]}] * 3) == "messages"


def test_columns_of_another_format_that_hold_nothing_do_not_count() -> None:
    rows = [{"messages": None, "conversations": TURNS}, {"messages": TURNS, "instruction": None}]
    assert detect_format(rows[:1]) == "sharegpt"
    assert detect_format(rows[1:]) == "messages"
    assert detect_format([ALPACA | {"conversation": "chat 7"}]) == "alpaca"


def test_a_file_of_several_formats_is_not_guessed() -> None:
    said = refusal([ALPACA] * 89 + [DOLLY] * 11)
    assert "89% fit alpaca and 11% fit dolly" in said and "data.columns" in said
    assert detect_format([ALPACA] * 90 + [DOLLY] * 10) == "alpaca"


def test_two_formats_that_fit_is_an_error_naming_both() -> None:
    assert "data.format=alpaca or data.format=dolly" in refusal([ALPACA | DOLLY] * 5)
    both = {"messages": TURNS, "conversations": TURNS}
    assert "anchors.format=sharegpt or anchors.format=messages" in refusal([both], "anchors")


def test_where_nothing_fits_the_nearest_is_named_with_why() -> None:
    said = refusal([{"instruction": "q", "reply": "a"}] * 3)
    assert "no format fits the first 3 rows" in said
    assert "nearest: alpaca: 3 of 3 rows, missing_field:output" in said
    assert "their fields: instruction, reply" in said
    assert "'data.columns={instruction: instruction, output: reply}'" in said


@pytest.mark.parametrize("rows", [[], [1, "a", None]])
def test_no_object_to_look_at_is_an_error(rows: list[object]) -> None:
    assert refusal(rows).startswith("data.format=auto: none of the first")


HELPED: list[tuple[Row, str]] = [
    ({"question": "q", "reply": "a", "id": 3}, "question"),
    ({"问题": "q", "回答": "a"}, "问题"),
    ({"user, first": "q", "its answer": "a"}, "user, first"),
    ({"log": TURNS, "id": 1}, "log"),
]


@pytest.mark.parametrize(("row", "column"), HELPED)
def test_the_setting_that_is_printed_works_as_it_is_pasted(row: Row, column: str) -> None:
    setting = refusal([row] * 3).rpartition(": set ")[2]
    assert column in setting
    config = load(shlex.split(setting), ["data"]).data
    format = set_format(config.format, config.columns, config.roles)
    assert format == "columns"
    messages = Rules(format, config.columns).parse(row).messages
    assert messages == (Message("user", "q"), Message("assistant", "a"))


def proposed(
    rows: list[Row], column: str = "conversations", columns: Any = None, roles: Any = None
) -> Any:
    setting = propose_setting(rows, [column], columns or {}, roles or {})
    assert setting is not None
    return load(shlex.split(setting), ["data"]).data


@pytest.mark.parametrize("names", [("customer", "clerk"), ("顾客", "店员"), ("the client", "us.2")])
def test_roles_are_proposed_whoever_speaks_first_asks(names: tuple[str, str]) -> None:
    turns = [{"from": name, "value": text} for name, text in zip(names, "qa", strict=True)]
    row: Row = {"conversations": turns}
    roles = proposed([row]).roles
    assert roles == dict(zip(names, ("user", "assistant"), strict=True))
    assert Rules("sharegpt", {}, roles).parse(row).messages[1] == Message("assistant", "a")


def test_a_role_that_is_there_already_is_not_proposed_again() -> None:
    turns = [{"from": "human", "value": "q"}, {"from": "Ada", "value": "a"}]
    row: Row = {"conversations": turns}
    assert proposed([row]).roles == {"Ada": "assistant"}
    strangers = [{"from": "customer", "value": "q"}, {"from": "clerk", "value": "a"}]
    guessed = {"customer": "user", "clerk": "assistant", "Ada": "assistant"}
    assert proposed([row, {"conversations": strangers}]).roles == guessed, "each row by itself"


def test_what_is_set_already_stays_in_what_is_proposed() -> None:
    turns = [{"by": "customer", "says": "q"}, {"by": "clerk", "says": "a"}]
    columns = {"turns": "log", "role": "by", "content": "says"}
    roles = {"customer": "user"}
    both = {"customer": "user", "clerk": "assistant"}
    assert proposed([{"log": turns}], "log", columns, roles).roles == both
    fields = proposed([{"log": turns}], "log", {"turns": "log"}).columns
    assert fields == columns


def test_fields_of_turns_are_proposed() -> None:
    turns = [{"by": "user", "says": "a long question"}, {"by": "bot", "says": "and its answer"}]
    assert proposed([{"thread": turns}] * 2, "thread").columns == {"role": "by", "content": "says"}


def test_where_there_is_nothing_to_propose() -> None:
    assert propose_setting([{"conversations": TURNS}], ["conversations"], {}, {}) is None
    assert propose_setting([ALPACA], [], {}, {}) is None


def test_names_are_quoted_where_they_must_be() -> None:
    assert mapping_text({"turns": "my log", "role": "谁"}) == "{turns: my log, role: 谁}"
    assert mapping_text({"turns": "by: whom"}) == '{"turns": "by: whom"}'


def test_what_is_set_is_the_format() -> None:
    columns = {"instruction": "q", "output": "a"}
    assert set_format("auto", {}, {}) is None
    assert set_format("auto", {"system": "persona"}, {}) is None, "of whatever is recognised"
    assert set_format("dolly", {"system": "persona"}, {}) == "dolly"
    assert set_format("alpaca+messages", {}, {}) == "alpaca+messages"
    assert set_format("auto", columns, {}) == set_format("columns", columns, {}) == "columns"
    assert set_format("auto", {"turns": "log"}, {}) == "columns"


@pytest.mark.parametrize(
    ("format", "columns", "roles", "named"),
    [
        ("excel", {}, {}, "anchors.format=excel"),
        ("columns", {}, {}, "anchors.columns"),
        ("alpaca", {"instruction": "q", "output": "a"}, {}, "anchors.format=alpaca"),
        ("auto", {"instruction": "q"}, {}, "output"),
        ("auto", {"question": "q", "output": "a"}, {}, "question"),
        ("auto", {"turns": "q", "messages": "a"}, {}, "leave one out"),
        ("auto", {"turns": "q", "instruction": "a"}, {}, "turns and instruction"),
        ("auto", {}, {"clerk": "boss"}, "anchors.roles: clerk is boss"),
    ],
)
def test_settings_that_contradict_each_other_are_errors(
    format: str, columns: dict[str, str], roles: dict[str, str], named: str
) -> None:
    with pytest.raises(UserError, match=named.replace(".", r"\.")):
        set_format(format, columns, roles, section="anchors")


def test_a_mistyped_format_is_answered_with_the_one_that_was_meant() -> None:
    with pytest.raises(UserError, match="data.format=alpacca is unknown.*mean data.format=alpaca"):
        set_format("alpacca", {}, {})
