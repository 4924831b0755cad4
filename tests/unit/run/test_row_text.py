"""A row as a person reads it."""

import json

import pytest
from shown_run import readable_run

from nuggets_ray.data.examples import Rules
from nuggets_ray.run.row_text import (
    cut,
    distinct_texts,
    one_line,
    printable,
    row_rules,
    turns_line,
    turns_of,
)

ALPACA = Rules("alpaca", {})
ROW = {"instruction": "Add.", "input": "2 and 2", "output": "4", "system": "Be brief."}


def as_json(row: object) -> bytes:
    return json.dumps(row).encode()


def test_a_row_is_its_turns() -> None:
    turns = [("system", "Be brief."), ("user", "Add.\n2 and 2"), ("assistant", "4")]
    assert turns_of(as_json(ROW), ALPACA) == turns
    assert turns_line(turns, 20) == "Add. 2 and 2 -> 4"


@pytest.mark.parametrize("rules", [None, Rules("dolly", {})])
def test_a_row_that_holds_no_example_is_its_json(rules: Rules | None) -> None:
    [(role, text)] = turns_of(as_json({"a": "é"}), rules)
    assert (role, text) == ("row", '{"a": "é"}')
    assert turns_line([(role, text)], 6) == '{"a":…'


def test_how_rows_are_read_is_what_the_run_says(tmp_path: object) -> None:
    assert row_rules(str(tmp_path)) is None
    assert row_rules(readable_run(f"{tmp_path}/run")) == ALPACA


def test_a_terminal_obeys_nothing_in_a_row() -> None:
    assert printable("a\x1b[2Jb\rc\r\nd\te\u202ef\x9bg") == "a\ufffd[2Jb\ufffdc\nd\te\ufffdf\ufffdg"
    assert one_line(" a \n\x07 b ", 9) == "a \ufffd b"


def test_a_text_is_cut_to_its_length() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abc defg", 5) == "abc…" and len(cut("abcdefgh", 5)) == 5


def test_what_all_texts_share_is_left_out() -> None:
    start = "Below is an instruction.\n\n"
    assert distinct_texts([f"{start}Tell 1 END", f"{start}Tell 2 END"]) == ["Tell 1", "Tell 2"]
    assert distinct_texts(["ab", "ac"]) == ["ab", "ac"], "half a line is no template's"
    assert distinct_texts(["same"]) == ["same"] and distinct_texts([]) == []
