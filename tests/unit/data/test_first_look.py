"""A first look at the rows, before anything that takes long."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from nuggets_ray.config.schema import DataConfig
from nuggets_ray.data.first_look import MAX_ROWS, FirstLook, first_look
from nuggets_ray.data.inputs import list_inputs
from nuggets_ray.errors import UserError

GOOD = [{"instruction": f"Double {n}.", "output": f"{2 * n}"} for n in range(150)]


def look(folder: Path, rows: Sequence[object], num_wanted: int = 0, **keys: object) -> FirstLook:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = DataConfig(str(path), **keys)  # type: ignore[arg-type]
    return first_look(config, list_inputs(config.path), num_wanted)


def test_few_rows_are_all_read_and_copies_counted_once(tmp_path: Path) -> None:
    assert look(tmp_path, [*GOOD[:20], GOOD[0]]) == FirstLook(21, 20, is_whole=True)
    assert look(tmp_path, GOOD) == FirstLook(100, 100, is_whole=False)
    assert look(tmp_path, GOOD, num_wanted=90) == FirstLook(150, 150, is_whole=True)
    assert look(tmp_path, GOOD * 20, num_wanted=10**6).num_rows == MAX_ROWS


def test_what_data_limit_leaves_out_is_not_there(tmp_path: Path) -> None:
    assert look(tmp_path, GOOD, limit=7) == FirstLook(7, 7, is_whole=True)
    assert look(tmp_path, GOOD, limit=120) == FirstLook(100, 100, is_whole=False)
    assert look(tmp_path, GOOD[:5], limit=7) == FirstLook(5, 5, is_whole=True)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"format": "dolly"}, r"data\.format=dolly: none of the first 100 rows .*response"),
        (
            {"columns": {"instruction": "question", "output": "answer"}},
            r"data\.columns=.*: none of .*missing_field:.*the fields of the rows are instruction",
        ),
    ],
)
def test_rows_that_the_format_does_not_fit(
    keys: dict[str, object], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words):
        look(tmp_path, GOOD, **keys)
    assert look(tmp_path, GOOD, max_skipped_fraction=1.0, **keys).num_distinct == 0


def test_a_format_that_cannot_be_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.format=auto: no format fits .*their fields: a\)"):
        look(tmp_path, [{"a": 1}] * 5)


def test_the_setting_that_would_help_is_named(tmp_path: Path) -> None:
    turns = [{"from": "customer", "value": "q"}, {"from": "clerk", "value": "a"}]
    with pytest.raises(UserError) as error:
        look(tmp_path, [{"conversations": turns}] * 3)
    assert "(3 unknown_role:customer, at turn 1)" in str(error.value)
    assert "set 'data.roles={customer: user, clerk: assistant}'" in str(error.value)
    null = [turns[0] | {"from": "human"}, {"from": "gpt", "value": None}]
    with pytest.raises(UserError, match=r"\(3 wrong_type:value, null at turn 2\)"):
        look(tmp_path, [{"conversations": null}] * 3)
