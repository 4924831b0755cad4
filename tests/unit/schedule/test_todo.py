"""Which candidates are left: neither scored, nor copies, nor given up, nor excluded anchors."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from made_up_candidates import make_candidates

from nuggets_ray import io
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.skipped import SKIPPED_SCHEMA, LeftOut
from nuggets_ray.schedule.todo import Todo, find_todo, unanswered

CANDIDATES = make_candidates(["a", "b", "a", "c", "d"], [10, 20, 10, 101, 100])
RETRY = ("killed_worker", "error")


def write_scores(out_dir: Path, *example_ids: str) -> None:
    part = io.join(RunFolder(str(out_dir)).scores, "part-try-0.parquet")
    io.write_table(part, pa.table({"example_id": list(example_ids)}))


def write_given_up(out_dir: Path, **reasons: tuple[str, int]) -> None:
    """skipped.parquet with {content_id: (reason, tries)}, and the candidates that it is about."""
    numbers = {"a": 0, "b": 1, "c": 3, "d": 4}
    rows = [("rows", numbers[i], reason, "", tries) for i, (reason, tries) in reasons.items()]
    columns = [list(column) for column in zip(*rows, strict=True)]
    io.write_table(RunFolder(str(out_dir)).skipped, pa.table(columns, schema=SKIPPED_SCHEMA))
    table = {"content_id": list(numbers), "source_path": ["rows"] * 4, "row_number": [0, 1, 3, 4]}
    io.write_table(io.join(RunFolder(str(out_dir)).candidates, "part.parquet"), pa.table(table))


def find(out_dir: Path, *excluded: str) -> Todo:
    return find_todo(str(out_dir), CANDIDATES, excluded, RETRY)


def test_a_new_run_has_every_candidate_but_the_copies(tmp_path: Path) -> None:
    todo = find(tmp_path)
    assert todo.is_todo_N.tolist() == [True, True, False, True, True]
    assert not todo.is_again_N.any()
    assert (todo.again, todo.left_out, todo.num_reused) == ({}, {}, 0)


def test_what_is_scored_already_is_not_computed(tmp_path: Path) -> None:
    write_scores(tmp_path, "b", "d", "d-2")
    todo = find(tmp_path)
    assert todo.is_todo_N.tolist() == [True, False, False, True, False]
    assert todo.num_reused == 2


def test_excluded_anchors_are_not_computed(tmp_path: Path) -> None:
    todo = find(tmp_path, "a", "c", "elsewhere")
    assert todo.is_todo_N.tolist() == [False, True, False, False, True]
    assert todo.left_out == dict.fromkeys(("a", "c", "elsewhere"), LeftOut("is_anchor"))


def test_what_was_given_up_is_tried_again_once(tmp_path: Path) -> None:
    write_given_up(
        tmp_path, a=("killed_worker", 1), b=("killed_worker", 2), c=("non_finite_score", 1)
    )
    todo = find(tmp_path)
    assert todo.is_todo_N.tolist() == [True, False, False, False, True]
    assert todo.is_again_N.tolist() == [True, False, False, False, False]
    assert todo.again == {"a": LeftOut("killed_worker", 1)}
    assert set(todo.left_out) == {"b", "c"}


def test_an_anchor_that_was_given_up_is_excluded_and_not_tried_again(tmp_path: Path) -> None:
    write_given_up(tmp_path, a=("killed_worker", 1))
    todo = find(tmp_path, "a")
    assert todo.is_todo_N.tolist() == [False, True, False, True, True]
    assert not todo.is_again_N.any()
    assert todo.left_out == {"a": LeftOut("is_anchor")}


def test_unanswered_is_neither_scored_nor_told(tmp_path: Path) -> None:
    write_scores(tmp_path, "b")
    rows = np.array([0, 1, 3, 4])
    assert unanswered(str(tmp_path), CANDIDATES, rows, {"c": "why"}).tolist() == [0, 4]
    assert unanswered(str(tmp_path), CANDIDATES, rows[:0], {}).tolist() == []
