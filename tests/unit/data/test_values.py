"""Values as texts, lists and objects; which fields were read."""

import pickle
from typing import Any

import pytest

from nuggets_ray.data.values import Fields, SkipRow, json_text, list_in, object_in, text_of


@pytest.mark.parametrize(
    ("value", "text"),
    [("  x ", "  x "), (42, "42"), (2.5, "2.5"), (-1e30, "-1e+30"), ("zwölf".encode(), "zwölf")],
)
def test_a_text_a_number_and_utf_8_bytes_are_text(value: Any, text: str) -> None:
    assert text_of(value, "output") == text


def test_other_values_are_not() -> None:
    with pytest.raises(SkipRow, match="^wrong_type:output$") as skip:
        text_of([1], "output", " at turn 3")
    assert skip.value.detail == "a list at turn 3"
    with pytest.raises(SkipRow, match="^invalid_unicode$"):
        text_of(b"caf\xe9", "output")


def test_a_reason_survives_the_way_between_processes() -> None:
    again = pickle.loads(pickle.dumps(SkipRow("wrong_type:a", "null at turn 2")))
    assert (again.reason, again.detail) == ("wrong_type:a", "null at turn 2")


def test_the_first_name_that_holds_something_is_read() -> None:
    fields = Fields({"a": "", "b": None, "c": 0, "d": "x", "e": float("nan")})
    assert fields.take(("a", "b", "c", "d")) == ("c", 0)
    assert fields.take(("a", "e")) == ("", None)
    assert (fields.read, fields.left()) == (["c"], ["d"])
    assert fields.need(("missing", "b")) == ("b", None)
    with pytest.raises(SkipRow, match="^missing_field:x$"):
        fields.need(("x", "y"))
    with pytest.raises(SkipRow, match="^missing_field:value$"):
        fields.need(("x", "y"), "value")


def test_lists_and_objects_may_stand_in_json_text() -> None:
    assert list_in((1, 2)) == list_in("[1, 2]") == list_in(" [1,2]") == [1, 2]
    assert object_in({"a": 1}) == object_in('{"a": 1}') == {"a": 1}
    nothing: list[Any] = ["[1", "x", None, 3, "{}", {}]
    assert [list_in(value) for value in nothing] == [None] * 6
    assert object_in("[]") is None and object_in("{broken") is None


def test_json_text_has_no_nulls_of_other_rows_objects() -> None:
    assert json_text({"a": [{"b": None, "c": "é"}], "d": None}) == '{"a": [{"c": "é"}]}'
