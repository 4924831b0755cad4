"""Answers of rounds become rows of scores/."""

from pathlib import Path

import numpy as np

from nuggets_ray.run.manifest import Run
from nuggets_ray.run.rounds import (
    AnsweredRow,
    Round,
    RoundAsk,
    read_rounds,
    write_answers,
    write_round,
)
from nuggets_ray.run.scores import compact_scores, complete_ids, read_scores
from nuggets_ray.schedule.replay import Field, Replay, replay
from nuggets_ray.score.raced import write_complete, write_eliminated
from nuggets_ray.score.zero_shot import ZeroShot

IDS = np.array(["a", "b"])
BASELINE = ZeroShot((), np.full(3, -1.0, np.float32))
FIELD = Field(IDS, np.array([-1, 1]), BASELINE.zero_shot_A)
BLOCK, REST = np.array([2]), np.array([0, 1])


def answered(content_id: str, *log_probs: float) -> AnsweredRow:
    return AnsweredRow(content_id, 3, 4, 0, np.array(log_probs, np.float32))


def state_of(out_dir: str) -> Replay:
    return replay(out_dir, FIELD, read_rounds(out_dir))


def test_a_row_is_complete_once_every_anchor_is_answered_and_the_rest_is_eliminated(
    tmp_path: Path,
) -> None:
    out_dir = str(tmp_path)
    write_round(out_dir, Round(0, (RoundAsk(IDS, BLOCK),), 1, BLOCK, {}))
    write_answers(out_dir, 0, "t", 0, [answered("a", -0.5), answered("b", -1.5)])
    write_round(out_dir, Round(1, (RoundAsk(IDS[:1], REST),), None, None, {}))
    write_answers(out_dir, 1, "t", 0, [answered("a", -0.25, -3.0)])
    with Run(out_dir, "score") as run:
        write_complete(run, FIELD, BASELINE, state_of(out_dir))
        assert complete_ids(out_dir).tolist() == ["a"]
        write_complete(run, FIELD, BASELINE, state_of(out_dir))
        write_eliminated(run, FIELD, BASELINE, {"b": ["b#2"]}, state_of(out_dir))
        compact_scores(out_dir, run.attempt_id, {"a": ["a#2"]})
    rows = {row["example_id"]: row for table in read_scores(out_dir) for row in table.to_pylist()}
    assert rows["a"]["one_shot_logprob"] == [-0.25, -3.0, -0.5]
    assert rows["a"]["golden_score"] == rows["a#2"]["golden_score"] == 2 / 3
    assert rows["b"]["status"] == rows["b#2"]["status"] == "eliminated"
    assert np.isnan(rows["b"]["one_shot_logprob"]).tolist() == [True, True, False]
    assert rows["b"]["self_anchor_index"] == 1 and rows["b"]["golden_score"] is None


def test_a_row_that_was_left_behind_and_completed_since_is_read_as_complete(tmp_path: Path) -> None:
    out_dir = str(tmp_path)
    write_round(out_dir, Round(0, (RoundAsk(IDS, BLOCK),), 1, BLOCK, {}))
    write_answers(out_dir, 0, "t", 0, [answered("a", -0.5), answered("b", -1.5)])
    with Run(out_dir, "score") as run:
        write_eliminated(run, FIELD, BASELINE, {}, state_of(out_dir))
    write_round(out_dir, Round(1, (RoundAsk(IDS[:1], REST),), None, None, {}))
    write_answers(out_dir, 1, "t", 0, [answered("a", -0.25, -3.0)])
    with Run(out_dir, "score") as run:
        write_complete(run, FIELD, BASELINE, state_of(out_dir))
        status = {
            row["example_id"]: row["status"]
            for table in read_scores(out_dir, ["status"])
            for row in table.to_pylist()
        }
        assert status == {"a": "complete", "b": "eliminated"}
        write_eliminated(run, FIELD, BASELINE, {}, state_of(out_dir))
    ids = [i for table in read_scores(out_dir, []) for i in table["example_id"].to_pylist()]
    assert sorted(ids) == ["a", "b"]
