"""The show job: what is printed of rows, with and without their texts."""

from dataclasses import replace

import pyarrow as pa
import pytest
from scored_run import finished_run
from shown_run import NUM_ROWS, readable_run

from nuggets_ray import io
from nuggets_ray.config.show import ShowConfig
from nuggets_ray.errors import UserError
from nuggets_ray.run.joined import Joined
from nuggets_ray.run.show import format_row, format_title, show_rows
from nuggets_ray.run.shown_rows import AnchorDelta, ShownRow

NUMBERS = {
    **{"golden_score": 0.75, "score_low": 0.3, "score_high": 0.954, "num_wins": 3},
    **{"num_anchors": 4, "mean_delta": 0.125, "num_near_ties": 1, "num_answer_tokens": 7},
}
ROW = ShownRow(
    "c01",
    "/data/rows.jsonl",
    1,
    NUMBERS,
    (("user", "Say\nit\x1b[2J."), ("assistant", "x" * 50)),
    (AnchorDelta("a0", "Task 0", 0.5), AnchorDelta("a1", "Task 1", -0.25)),
)


def test_a_row_as_a_person_reads_it() -> None:
    assert format_row(2, ROW, ShowConfig(max_chars=10)).splitlines() == [
        "2. 0.75 [0.30, 0.95], helped 3 of 4 anchors (1 near ties), mean delta +0.125",
        "   c01, row 1 of /data/rows.jsonl, 7 answer tokens",
        "   user: Say",
        "         it\ufffd[2…",
        "   assistant: xxxxxxxxx…",
        "   helped most: +0.500 anchor a0 Task 0",
        "   hurt most: -0.250 anchor a1 Task 1",
    ]


def test_private_rows_are_told_by_ids_and_numbers_alone() -> None:
    text = format_row(1, ROW, ShowConfig(text=False))
    assert "anchor a0" in text and "c01" in text and "0.75" in text
    assert not any(word in text for word in ("Say", "xxx", "Task"))


def test_as_many_anchors_as_are_asked_for() -> None:
    deltas = tuple(AnchorDelta(f"a{n}", "", 0.5 - n / 10) for n in range(11))
    lines = format_row(1, replace(ROW, deltas=deltas), ShowConfig(num_anchors=2)).splitlines()
    assert [line.split()[4] for line in lines[-4:]] == ["a0", "a1", "a10", "a9"]
    assert "helped most" not in format_row(1, ROW, ShowConfig(num_anchors=0))


def joined(num_complete: int, num_left: int, num_pending: int) -> Joined:
    scores = pa.array([0.5] * num_complete + [None] * num_left, pa.float64())
    return Joined(pa.table({"golden_score": scores}), 99, num_pending)


def test_the_title_says_which_rows_these_are() -> None:
    title = format_title(ShowConfig(search="maths", order="bottom"), 2, joined(30, 0, 5))
    assert title.startswith("2 of 30 scored rows that hold 'maths', lowest golden_score first")
    assert title.endswith("5 more wait for a score")
    assert format_title(ShowConfig(), 1, joined(1, 0, 0)).endswith("answer token")
    raced = format_title(ShowConfig(), 1, joined(2, 9, 0))
    assert "1 of 11 scored rows" in raced
    assert raced.endswith("; 9 have no golden score (left behind by a race, or explored)")


def test_the_job_prints_rows_and_writes_nothing(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    out_dir = readable_run(f"{tmp_path}/run")
    before = io.list_files(out_dir, "")
    result = show_rows(out_dir, ShowConfig(num=2, search="trivia"))
    assert result == {
        **{"wrote": [], "status": "done", "num_rows": 2, "num_scored": NUM_ROWS + 1},
        "example_ids": ["c11", "c10"],
    }
    printed = capsys.readouterr().out
    assert printed.count("\n   user: Double ") == 2 and "   assistant: It is 22." in printed
    assert "anchor a0 Task 0" in printed
    assert io.list_files(out_dir, "") == before


def test_a_run_that_does_not_say_its_format_shows_json(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    show_rows(finished_run(f"{tmp_path}/run"), ShowConfig(num=1))
    assert '   row: {"z": 2.375, ' in capsys.readouterr().out
    with pytest.raises(UserError, match="holds no scores yet"):
        show_rows(f"{tmp_path}/elsewhere", ShowConfig())
