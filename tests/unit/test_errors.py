"""Sentences that a terminal shows as they are, and that name arguments to a caller in Python."""

import pytest

from nuggets_ray.errors import MAX_CHARS, UserError, named_as


class OtherError(UserError):
    pass


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("data.path=x: no such file", "rows=x: no such file"),
        ("set data.format, or data.columns={a: b}", "set format, or data.columns={a: b}"),
        (
            "data.format.x, my_data.path, old.data.path",
            "data.format.x, my_data.path, old.data.path",
        ),
        ("nothing of ours", "nothing of ours"),
        ("see data.path.", "see rows."),
    ],
)
def test_keys_are_told_by_their_other_names(said: str, told: str) -> None:
    with (
        pytest.raises(OtherError) as caught,
        named_as({"data.path": "rows", "data.format": "format"}),
    ):
        raise OtherError(said) from KeyError("its cause")
    assert str(caught.value) == told
    assert isinstance(caught.value.__cause__, KeyError)


def test_other_errors_pass() -> None:
    with pytest.raises(ValueError, match="data.path"), named_as({"data.path": "rows"}):
        raise ValueError("data.path")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("select.by=a\nb\tc: unknown", r"select.by=a\nb\tc: unknown"),
        ("\x1b[31m, \x7f, \ud800", r"\x1b[31m, \x7f, \ud800"),
        ("a\u2028b", r"a\u2028b"),
        ("é, 数", "é, 数"),
    ],
)
def test_what_a_terminal_would_obey_is_spelled_out(said: str, told: str) -> None:
    assert str(UserError(said)) == told


def test_a_long_sentence_keeps_its_ends() -> None:
    told = str(UserError("key=" + "x" * 5000 + ": give another"))
    assert told.startswith("key=xxx") and told.endswith("x: give another")
    assert len(told) == MAX_CHARS
    assert str(UserError("x" * MAX_CHARS)) == "x" * MAX_CHARS
