"""Rows that met more anchors: the same as if they had met them all at once."""

from pathlib import Path

import numpy as np
import pytest

from nuggets_ray import io
from nuggets_ray.records import Anchor, Encoding
from nuggets_ray.run.rounds import AnsweredRow, write_answers
from nuggets_ray.run.scores import read_scores, write_scores
from nuggets_ray.score.score_rows import complete_row
from nuggets_ray.score.widen import widened_tables
from nuggets_ray.score.zero_shot import ZeroShot

IDS = ["a", "b", "c", "anchor-1", "anchor-3"]
ONE_SHOT_NA = np.random.default_rng(0).normal(size=(len(IDS), 5)).astype(np.float32)


def anchors(num: int) -> ZeroShot:
    encoding = Encoding(np.array([1, 2]), np.array([False, True]))
    some = tuple(
        Anchor(f"random-{i}", f"anchor-{i}", "random", "text", encoding) for i in range(num)
    )
    return ZeroShot(some, np.linspace(-0.5, 0.5, num).astype(np.float32), 0.05)


WHOLE = anchors(5)


def rows_on(base: ZeroShot, keeps_self: bool) -> list[object]:
    num = len(base.anchors)
    return [
        complete_row(
            *(content_id, (3, 4, 0), one_shot_A[:num], base),
            None if keeps_self else base.self_anchor_index(content_id),
        )
        for content_id, one_shot_A in zip(IDS, ONE_SHOT_NA, strict=True)
    ]


@pytest.mark.parametrize("keeps_self", [False, True])
def test_widened_rows_are_those_of_all_anchors_at_once(tmp_path: Path, keeps_self: bool) -> None:
    out_dir = str(tmp_path)
    first = WHOLE.take(range(2))
    rows = rows_on(first, keeps_self)
    write_scores(out_dir, "one", rows[:2])
    write_scores(out_dir, "two", rows[2:])
    answered = [AnsweredRow(i, 3, 4, 0, one[2:]) for i, one in zip(IDS, ONE_SHOT_NA, strict=True)]
    write_answers(out_dir, None, "t", 0, answered[3:])
    write_answers(out_dir, None, "t", 0, answered[:4])
    tables = list(widened_tables(out_dir, WHOLE, keeps_self))
    expected = rows_on(WHOLE, keeps_self)
    other = str(tmp_path / "other")
    write_scores(other, "one", expected)
    [there] = read_scores(other)
    found = {row["example_id"]: row for table in tables for row in table.to_pylist()}
    assert found == {row["example_id"]: row for row in there.to_pylist()}
    assert all(table.schema.equals(there.schema) for table in tables)


def test_a_row_without_an_answer_is_left_out(tmp_path: Path) -> None:
    out_dir = str(tmp_path)
    write_scores(out_dir, "one", rows_on(WHOLE.take(range(4)), False))
    assert list(widened_tables(out_dir, WHOLE, False)) == []
    write_answers(out_dir, None, "t", 0, [AnsweredRow("b", 3, 4, 0, ONE_SHOT_NA[1, 4:])])
    [table] = widened_tables(out_dir, WHOLE, False)
    assert table["example_id"].to_pylist() == ["b"]
    assert len(io.list_files(f"{out_dir}/scores", ".parquet")) == 1, "scores/ stays as it is"
