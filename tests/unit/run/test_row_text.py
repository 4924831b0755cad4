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


def test_a_template_s_lines_and_marks_are_left_out() -> None:
    plain, with_input = "Below is an instruction.", "Below is one with an input."
    texts = [f"{plain}\n\n### Instruction:\nTell {n}.\n\n### Response:\n{n}!" for n in range(6)]
    texts += [
        f"{with_input}\n\n### Instruction:\nAdd {n}.\n\n### Response:\n{n}?" for n in range(2)
    ]
    shown = distinct_texts(texts)
    assert shown[5] == "Tell 5.\n5!" and shown[6] == "Add 0.\n0?"
    chat = [f"<|im_start|>user\nTell {n}<|im_end|>\n<|im_start|>assistant\n{n}</s>" for n in "ab"]
    assert distinct_texts(chat) == ["Tell a\na", "Tell b\nb"]


def test_what_few_texts_share_stays() -> None:
    texts = [f"Classify.\n{n}" for n in range(2)] + [f"Say {n}." for n in range(20)]
    assert distinct_texts(texts) == texts
    assert distinct_texts(["same", "same"]) == ["same", "same"] and distinct_texts([]) == []
