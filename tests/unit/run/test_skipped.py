"""skipped.parquet: reading's reasons stay, scoring's stand for every copy of a content."""

from pathlib import Path

import pyarrow as pa
import pytest

from nuggets_ray import io
from nuggets_ray.prepare.commit import SCHEMA
from nuggets_ray.run import skipped
from nuggets_ray.run.skipped import (
    SKIPPED_SCHEMA,
    LeftOut,
    count_reasons,
    given_up,
    read_skipped,
    rewrite_skipped,
)

A, B = "/data/a.jsonl", "/data/b.jsonl"
# (source_path, row_number, content_id, row_json) of the candidates: c1 in three copies
CANDIDATES = [
    [(A, 0, "c1", '{"é": 1}'), (A, 2, "c2", '{"n": 2}'), (A, 4, "c1", '{"é": 4}')],
    [(B, 0, "c3", '{"n": 3}'), (B, 2, "c1", '{"n": 1}'), (B, 7, "c4", "{}")],
]
READING = [
    (A, 1, "empty_answer", "{bad", None),
    (A, 3, "held_out", '{"h":', None),
    (B, 1, "too_long", "", None),
]


def rewrite(out_dir: str, reasons: dict[str, str], excerpt_chars: int) -> None:
    """As after a first attempt."""
    left_out = {i: LeftOut(why, None if why == "is_anchor" else 1) for i, why in reasons.items()}
    rewrite_skipped(out_dir, left_out, excerpt_chars)


def reasons_of(left_out: dict[str, LeftOut]) -> dict[str, str]:
    return {content_id: why.reason for content_id, why in left_out.items()}


@pytest.fixture
def out_dir(tmp_path: Path) -> str:
    """A run folder as reading leaves it."""
    path = str(tmp_path / "run")
    for number, rows in enumerate(CANDIDATES):
        table = pa.Table.from_pylist(
            [
                {
                    "example_id": f"{content_id}-{source}-{row}",
                    "content_id": content_id,
                    "source_path": source,
                    "row_number": row,
                    "row_json": text,
                }
                for source, row, content_id, text in rows
            ],
            schema=SCHEMA,
        )
        io.write_table(io.join(path, "candidates", f"part-try-{number:05d}.parquet"), table)
    names = SKIPPED_SCHEMA.names
    table = pa.table(list(zip(*READING, strict=True)), schema=SKIPPED_SCHEMA)
    assert table.column_names == names
    io.write_table(io.join(path, "skipped.parquet"), table)
    return path


def rows(out_dir: str) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in read_skipped(out_dir).to_pylist()]


def test_no_file_is_no_rows(tmp_path: Path) -> None:
    assert rows(str(tmp_path)) == []
    assert given_up(str(tmp_path)) == {}
    assert count_reasons(str(tmp_path)).total() == 0


def test_reading_s_reasons_stay_and_scoring_s_stand_for_all_copies(out_dir: str) -> None:
    rewrite(out_dir, {"c1": "non_finite_score", "c4": "is_anchor"}, 5)
    assert rows(out_dir) == [
        *READING,
        (A, 0, "non_finite_score", '{"é":', 1),
        (A, 4, "non_finite_score", '{"é":', 1),
        (B, 2, "non_finite_score", '{"n":', 1),
        (B, 7, "is_anchor", "{}", None),
    ]
    assert read_skipped(out_dir).schema == SKIPPED_SCHEMA
    assert count_reasons(out_dir) == {
        "empty_answer": 1,
        "held_out": 1,
        "too_long": 1,
        "non_finite_score": 3,
        "is_anchor": 1,
    }


def test_no_excerpt_is_kept_where_none_is_wanted(out_dir: str) -> None:
    rewrite(out_dir, {"c2": "killed_worker"}, 0)
    assert rows(out_dir)[-1] == (A, 2, "killed_worker", "", 1)


def test_a_rewrite_replaces_the_last_one(out_dir: str) -> None:
    rewrite(out_dir, {"c1": "is_anchor", "c2": "error: RuntimeError: x"}, 5)
    rewrite(out_dir, {"c2": "error: RuntimeError: x"}, 5)
    assert rows(out_dir) == [*READING, (A, 2, "error: RuntimeError: x", '{"n":', 1)]
    rewrite(out_dir, {}, 5)
    assert rows(out_dir) == READING


def test_what_scoring_refused_is_known_again_and_anchors_are_not_among_it(out_dir: str) -> None:
    reasons = {
        "c1": "too_long_for_context",
        "c2": "error: ValueError: no",
        "c3": "killed_worker",
    }
    rewrite(out_dir, {**reasons, "c4": "is_anchor"}, 80)
    assert reasons_of(given_up(out_dir)) == reasons
    # row 2 of a.jsonl and row 2 of b.jsonl are two rows: only the place tells them apart
    rewrite(out_dir, {"c2": "non_finite_score"}, 80)
    assert reasons_of(given_up(out_dir)) == {"c2": "non_finite_score"}


@pytest.mark.parametrize("reason", ["too_long", "held_out", "is_anchor", "missing_field:output"])
def test_reasons_of_reading_and_excluding_are_not_scoring_s(reason: str) -> None:
    assert not skipped.is_score_reason(reason)


def test_how_often_a_row_was_given_up_is_recorded_and_found(out_dir: str) -> None:
    left_out = {"c1": LeftOut("killed_worker", 2), "c2": LeftOut("error: ValueError: no", 1)}
    rewrite_skipped(out_dir, left_out, 5)
    assert given_up(out_dir) == left_out
    assert [row["num_tries"] for row in read_skipped(out_dir).to_pylist()][len(READING) :] == [
        2,
        1,
        2,
        2,
    ]


def test_a_file_of_a_version_that_never_tried_again_is_read_as_tried_once(out_dir: str) -> None:
    rewrite(out_dir, {"c2": "killed_worker"}, 5)
    uri = io.join(out_dir, "skipped.parquet")
    io.write_table(uri, io.read_table(uri).drop_columns(["num_tries"]))
    assert given_up(out_dir) == {"c2": LeftOut("killed_worker", 1)}
    assert read_skipped(out_dir).schema == SKIPPED_SCHEMA


@pytest.mark.parametrize(
    ("why", "retry", "again"),
    [
        (LeftOut("killed_worker", 1), ["killed_worker", "error"], True),
        (LeftOut("killed_worker", 2), ["killed_worker", "error"], False),
        (LeftOut("error: ValueError: killed_worker", 1), ["error"], True),
        (LeftOut("error: ValueError: x", 1), ["killed_worker"], False),
        (LeftOut("killed_worker", 1), [], False),
        (LeftOut("non_finite_score", 1), ["killed_worker", "error"], False),
        (LeftOut("is_anchor"), ["killed_worker", "error"], False),
    ],
)
def test_a_row_that_something_befell_is_tried_once_more(
    why: LeftOut, retry: list[str], again: bool
) -> None:
    assert why.is_tried_again(retry) is again


def test_a_row_that_was_tried_again_and_given_up_again_is_final() -> None:
    once = skipped.give_up({"c1": "killed_worker", "c2": "error: x"}, {})
    assert once == {"c1": LeftOut("killed_worker", 1), "c2": LeftOut("error: x", 1)}
    twice = skipped.give_up({"c1": "error: y"}, once)
    assert twice == {"c1": LeftOut("error: y", 2)}
    assert not twice["c1"].is_tried_again(["killed_worker", "error"])


def test_reasons_are_counted_by_kind() -> None:
    some = [LeftOut("error: ValueError: a", 1), LeftOut("killed_worker", 1), LeftOut("error: b", 2)]
    assert skipped.count_kinds(some) == "2 error, 1 killed_worker"
