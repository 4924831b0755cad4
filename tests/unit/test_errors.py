"""A sentence for a caller in Python names arguments, where the command line names keys."""

import pytest

from nuggets_ray.errors import UserError, named_as


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
