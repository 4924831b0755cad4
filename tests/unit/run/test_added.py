"""added/: what is being added is found again, and the change of places ends however it was cut."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nuggets_ray import io
from nuggets_ray.errors import UserError
from nuggets_ray.records import Anchor, Encoding
from nuggets_ray.run.added import (
    answered_ids,
    answers_of,
    begin_swap,
    check_can_grow,
    finish_swap,
    pending_anchors,
)
from nuggets_ray.run.anchors import read_known, write_anchors
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.rounds import AnsweredRow, Round, RoundAsk, write_answers, write_round
from nuggets_ray.run.scores import ELIMINATED, complete_ids, score_parts


def anchor(number: int) -> Anchor:
    encoding = Encoding(np.array([1, number]), np.array([False, True]))
    return Anchor(f"file-{number}", f"content-{number}", "file", "text", encoding)


ANCHORS = [anchor(number) for number in range(5)]


def write_part(folder: str, name: str, *ids: str) -> None:
    table = pa.table({"example_id": ids, "status": ["complete"] * len(ids)})
    io.write_table(io.join(folder, name), table)


def write_pending(out_dir: str, anchors: list[Anchor]) -> None:
    write_anchors(RunFolder(out_dir).added.anchors, anchors, np.zeros(len(anchors), np.float32))


def test_answers_are_read_once_a_row(tmp_path: Path) -> None:
    out_dir = str(tmp_path)
    assert len(answered_ids(out_dir)) == 0 == len(answers_of(out_dir)[0])
    rows = [AnsweredRow(i, 1, 2, 0, np.array([n, -n], np.float32)) for n, i in enumerate("abc")]
    write_answers(out_dir, None, "one", 0, rows[:2])
    write_answers(out_dir, None, "two", 0, rows[1:])
    assert answered_ids(out_dir).tolist() == ["a", "b", "c"]
    ids, one_shot_nS = answers_of(out_dir)
    assert ids.tolist() == ["a", "b", "c"] and one_shot_nS[:, 1].tolist() == [0.0, -1.0, -2.0]


def test_what_was_begun_is_found_where_it_adds_to_the_anchors_there_are(tmp_path: Path) -> None:
    out_dir = str(tmp_path)
    assert pending_anchors(out_dir, ANCHORS[:2]) is None
    write_pending(out_dir, ANCHORS[:3])
    pending = pending_anchors(out_dir, ANCHORS[:2])
    assert pending is not None and len(pending[0]) == len(pending[1]) == 3
    for known in (ANCHORS[1:3], ANCHORS[:3], ANCHORS):  # others, and what a kill left behind
        assert pending_anchors(out_dir, known) is None


@pytest.mark.parametrize("cut", ["none", "copied", "deleted", "anchors", "half forgotten"])
def test_the_change_of_places_ends_from_wherever_it_was_cut(tmp_path: Path, cut: str) -> None:
    out_dir, folder = str(tmp_path), RunFolder(str(tmp_path))
    write_anchors(folder.anchors, ANCHORS[:2], np.zeros(2, np.float32))
    write_part(folder.scores, "part-old.parquet", "a")
    write_part(folder.scores, "part-older.parquet", "b")
    write_pending(out_dir, ANCHORS)
    write_part(folder.added.scores, "part-new.parquet", "a", "b")
    finish_swap(out_dir)  # nothing is to be changed yet
    assert len(score_parts(out_dir)) == 2
    begin_swap(out_dir, ["part-old.parquet", "part-older.parquet"], ["part-new.parquet"])
    with pytest.raises(UserError, match=r"ended while added anchors were put into its scores: run"):
        score_parts(out_dir)
    if cut != "none":
        write_part(folder.scores, "part-new.parquet", "a", "b")
    if cut in ("deleted", "anchors", "half forgotten"):
        io.delete(io.join(folder.scores, "part-old.parquet"))
    if cut in ("anchors", "half forgotten"):
        write_anchors(folder.anchors, ANCHORS, np.zeros(5, np.float32))
    if cut == "half forgotten":
        io.delete(folder.added.scores)
    finish_swap(out_dir)
    assert [uri.rpartition("/")[2] for uri in score_parts(out_dir)] == ["part-new.parquet"]
    assert complete_ids(out_dir).tolist() == ["a", "b"]
    assert len(read_known(out_dir)[0]) == 5
    assert not (tmp_path / "added").exists()


def test_a_raced_folder_takes_no_more_anchors_until_all_is_complete(tmp_path: Path) -> None:
    out_dir, folder = str(tmp_path), RunFolder(str(tmp_path))
    with pytest.raises(UserError, match="holds scores and no anchors.parquet"):
        check_can_grow(out_dir, [])
    write_part(folder.scores, "part-a.parquet", "a", "b")
    check_can_grow(out_dir, ANCHORS)
    ask = RoundAsk(np.array(["a", "c"]), np.array([0, 1]))
    write_round(out_dir, Round(0, (ask,), 1, np.array([0, 1]), {}))
    with pytest.raises(UserError, match=r"was raced over 5 anchors.*schedule=full"):
        check_can_grow(out_dir, ANCHORS)
    write_part(folder.scores, "part-c.parquet", "c")
    check_can_grow(out_dir, ANCHORS)
    write_part(folder.scores, f"{ELIMINATED}d.parquet", "d")
    with pytest.raises(UserError, match="was raced over 5 anchors"):
        check_can_grow(out_dir, ANCHORS)
