"""The parts of scores/: what is written is what is read, and each id once, whatever a kill left."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nuggets_ray import io
from nuggets_ray.records import ScoreRow
from nuggets_ray.run import compaction, scores
from nuggets_ray.run.scores import (
    SCORE_SCHEMA,
    compact_scores,
    num_scored_by,
    read_scores,
    score_parts,
    write_scores,
)


def row(number: int, **changes: object) -> ScoreRow:
    values = {
        "example_id": f"c{number}",
        "content_id": f"c{number}",
        "golden_score": number / 8,
        "num_wins": number,
        "num_anchors": 8,
        "mean_delta": number / 100,
        "num_near_ties": 2,
        "score_low": 0.0,
        "score_high": 1.0,
        "status": "complete",
        "num_prompt_tokens": 5,
        "num_answer_tokens": 7,
        "num_dropped_tokens": 0,
        "self_anchor_index": None,
        "one_shot_logprob": np.array([-1.5, -number], np.float32),
    }
    return ScoreRow(**(values | changes))  # type: ignore[arg-type]


def write(out_dir: str, attempt_id: str, *numbers: int) -> str:
    return write_scores(out_dir, attempt_id, [row(number) for number in numbers])


def read(out_dir: str) -> list[dict[str, object]]:
    tables = list(read_scores(out_dir))
    return pa.concat_tables(tables).to_pylist() if tables else []


def ids_on_disk(out_dir: str) -> list[str]:
    """Every example_id of every part, as often as it stands there."""
    tables = [io.read_table(part) for part in score_parts(out_dir)]
    return sorted(pa.concat_tables(tables)["example_id"].to_pylist())


@pytest.fixture
def out_dir(tmp_path: Path) -> str:
    return str(tmp_path / "run")


def test_columns_on_disk_are_those_of_every_run_there_is(out_dir: str) -> None:
    written = io.read_table(write(out_dir, "a1", 1)).schema
    assert written.equals(
        pa.schema(
            [
                ("example_id", pa.string()),
                ("content_id", pa.string()),
                ("golden_score", pa.float64()),
                ("num_wins", pa.int32()),
                ("num_anchors", pa.int32()),
                ("mean_delta", pa.float64()),
                ("num_near_ties", pa.int32()),
                ("score_low", pa.float64()),
                ("score_high", pa.float64()),
                ("status", pa.string()),
                ("num_prompt_tokens", pa.int32()),
                ("num_answer_tokens", pa.int32()),
                ("num_dropped_tokens", pa.int32()),
                ("self_anchor_index", pa.int32()),
                ("one_shot_logprob", pa.list_(pa.float32())),
            ]
        )
    )


def test_what_is_written_is_read_null_and_nan_included(out_dir: str) -> None:
    one_shot_A = np.array([-0.25, math.nan, -3.0], np.float32)
    incomplete = row(1, golden_score=None, status="eliminated", one_shot_logprob=one_shot_A)
    complete = row(2, self_anchor_index=1, mean_delta=math.nan)
    part = write_scores(out_dir, "try1", [incomplete, complete])
    assert score_parts(out_dir) == [part]
    assert io.read_table(part).schema == SCORE_SCHEMA
    first, second = read(out_dir)
    assert first["golden_score"] is None and first["status"] == "eliminated"
    np.testing.assert_array_equal(first["one_shot_logprob"], one_shot_A)  # NaN, never null
    assert first["self_anchor_index"] is None and second["self_anchor_index"] == 1
    assert isinstance(second["mean_delta"], float) and math.isnan(second["mean_delta"])
    assert second["golden_score"] == 2 / 8


def test_nothing_is_there_before_the_first_block(out_dir: str) -> None:
    assert scores.scored_ids(out_dir).tolist() == read(out_dir) == []
    assert np.isin(["c1"], scores.scored_ids(out_dir)).tolist() == [False]
    compact_scores(out_dir, "try1", {"c1": ["c1-2"]})
    assert score_parts(out_dir) == []


def test_parts_that_overlap_give_each_id_once(out_dir: str) -> None:
    write(out_dir, "try1", 3, 1)
    write(out_dir, "try2", 1, 2, 3)
    write(out_dir, "try2", 2)
    assert scores.scored_ids(out_dir).tolist() == ["c1", "c2", "c3"]
    assert sorted(str(found["example_id"]) for found in read(out_dir)) == ["c1", "c2", "c3"]
    tables = list(read_scores(out_dir, ["golden_score"]))
    assert {name for table in tables for name in table.column_names} == {
        "example_id",
        "golden_score",
    }
    compact_scores(out_dir, "try3", {})
    assert ids_on_disk(out_dir) == ["c1", "c2", "c3"]


def test_compaction_merges_and_gives_every_copy_a_row(out_dir: str) -> None:
    write(out_dir, "try1", 1, 2)
    write(out_dir, "try2", 3)
    # c9 has copies but no score
    copies = {"c1": ["c1-2", "c1-3"], "c3": ["c3-2"], "c9": ["c9-2"]}
    compact_scores(out_dir, "try2", copies)
    assert len(score_parts(out_dir)) == 1
    assert ids_on_disk(out_dir) == ["c1", "c1-2", "c1-3", "c2", "c3", "c3-2"]
    by_id = {found["example_id"]: found for found in read(out_dir)}
    for example_id, found in by_id.items():
        assert found == {**by_id[found["content_id"]], "example_id": example_id}
    assert io.read_table(score_parts(out_dir)[0]).schema == SCORE_SCHEMA


def test_a_second_compaction_changes_nothing_and_a_new_copy_is_added(out_dir: str) -> None:
    write(out_dir, "try1", 1, 2)
    write(out_dir, "try1", 3)
    compact_scores(out_dir, "try1", {"c2": ["c2-2"]})
    before = score_parts(out_dir)
    compact_scores(out_dir, "try2", {"c2": ["c2-2"]})
    assert score_parts(out_dir) == before
    compact_scores(out_dir, "try3", {"c2": ["c2-2", "c2-3"]})
    assert ids_on_disk(out_dir) == ["c1", "c2", "c2-2", "c2-3", "c3"]


@pytest.mark.parametrize("num_deleted", [0, 1, 2])
@pytest.mark.parametrize("max_bytes", [1, 800, 2**27])
def test_a_kill_before_the_old_parts_are_gone_leaves_no_id_twice(
    out_dir: str, num_deleted: int, max_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "COMPACT_BYTES", max_bytes)  # a part each, two of three, all
    for start in (0, 4, 8):
        write(out_dir, "try1", *range(start, start + 4))
    deleted: list[str] = []
    delete = io.delete

    def killed(uri: str) -> None:
        if len(deleted) == num_deleted:
            raise KeyboardInterrupt
        deleted.append(uri)
        delete(uri)

    copies = {"c4": ["c4-2"]}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(io, "delete", killed)
        compact_scores(out_dir, "try1", copies)
    expected = sorted([*(f"c{number}" for number in range(12)), "c4-2"])
    assert len(ids_on_disk(out_dir)) > len(expected)
    assert scores.scored_ids(out_dir).tolist() == expected
    assert sorted(str(found["example_id"]) for found in read(out_dir)) == expected
    compact_scores(out_dir, "try2", copies)
    assert ids_on_disk(out_dir) == expected


def test_an_attempt_s_rows_are_those_not_compacted_yet(out_dir: str) -> None:
    write(out_dir, "try1", 1, 2)
    write(out_dir, "try1", 3)
    write(out_dir, "try2", 4)
    assert [num_scored_by(out_dir, name) for name in ("try1", "try2")] == [3, 1]
    compact_scores(out_dir, "try1", {})
    write(out_dir, "try1", 5)
    assert [num_scored_by(out_dir, name) for name in ("try1", "try2")] == [1, 0]
