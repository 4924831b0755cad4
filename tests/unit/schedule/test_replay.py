"""A race is read back from the run folder as far as it came."""

from pathlib import Path

import numpy as np
from made_up_scores import score_row

from nuggets_ray.run.rounds import (
    AnsweredRow,
    Round,
    RoundAsk,
    read_rounds,
    write_answers,
    write_round,
)
from nuggets_ray.run.scores import write_scores
from nuggets_ray.schedule.race import RaceSettings
from nuggets_ray.schedule.replay import Field, race_hashes, replay, spent_barriers
from nuggets_ray.schedule.seen import ALL

IDS = np.array(["a", "b", "c", "d"])
FIELD = Field(IDS, np.array([-1, 2, -1, -1]), np.array([-1.0, -1.0, -1.0], np.float32))


def answered(content_id: str, *log_probs: float) -> AnsweredRow:
    return AnsweredRow(content_id, 3, 4, 0, np.array(log_probs, np.float32))


def test_blocks_answered_and_rows_complete_are_seen_and_the_rest_waits(tmp_path: Path) -> None:
    out_dir = str(tmp_path)
    block = np.array([2, 0])
    write_round(out_dir, Round(0, (RoundAsk(IDS[1:], block),), 1, block, {"phase": "block 1"}))
    write_answers(out_dir, 0, "first", 0, [answered("b", -0.5, -2.0), answered("x", 0.0, 0.0)])
    write_scores(out_dir, "first", [score_row("a", one_shot=(-0.5, -2.0, -0.1))])
    state = replay(out_dir, FIELD, read_rounds(out_dir))
    assert state.seen.stage_N.tolist() == [ALL, 1, 0, 0]
    assert [(w.number, w.ask, w.rows.tolist()) for w in state.waiting] == [(0, 0, [2, 3])]
    parts = {tuple(part.rows.tolist()): part for part in state.seen.parts()}
    assert parts[(1,)].anchors.tolist() == [2, 0]
    assert np.isnan(parts[(1,)].delta[0, 0]) and parts[(1,)].delta[0, 1] == -1.0
    assert parts[(0,)].delta.tolist()[0] == [0.5, -1.0, np.float32(0.9)]


def test_a_row_that_left_the_race_is_not_waited_for(tmp_path: Path) -> None:
    out_dir = str(tmp_path)
    write_round(out_dir, Round(0, (RoundAsk(IDS, np.arange(3)),), None, None, {}))
    fewer = Field(IDS[:2], FIELD.self_anchor_N[:2], FIELD.zero_shot_M)
    [waiting] = replay(out_dir, fewer, read_rounds(out_dir)).waiting
    assert waiting.rows.tolist() == [0, 1]


def test_hashes_depend_on_the_seed_and_the_row_alone() -> None:
    assert np.array_equal(race_hashes(IDS, 0)[1:], race_hashes(IDS[1:], 0))
    assert not np.array_equal(race_hashes(IDS, 0), race_hashes(IDS, 1))


def test_barriers_are_those_of_a_race_for_as_many_rows_or_more() -> None:
    def decided(top_k: int | None, num_rows: int, min_score: float | None = None) -> Round:
        report = {"top_k": top_k, "min_score": min_score, "max_loss": 0.01}
        return Round(0, (), None, None, {**report, "num_candidates": num_rows})

    rounds = [decided(5, 90), decided(20, 100), decided(20, 99)]
    assert spent_barriers(rounds, RaceSettings(20), 99) == 2
    assert spent_barriers(rounds, RaceSettings(10), 99) == 2
    assert spent_barriers(rounds, RaceSettings(21), 99) == 0
    assert spent_barriers(rounds, RaceSettings(20), 120) == 0
    assert spent_barriers(rounds, RaceSettings(20, max_loss=0.001), 99) == 0
    assert spent_barriers(rounds, RaceSettings(min_score=0.8), 99) == 0
    scored = [decided(3, 99, 0.8), decided(9, 99, 0.7)]
    assert spent_barriers(scored, RaceSettings(min_score=0.8), 99) == 2
    assert spent_barriers(scored, RaceSettings(min_score=0.6), 99) == 0
    assert spent_barriers(scored, RaceSettings(3), 99) == 0
    assert spent_barriers([Round(0, (), None, None, {"top_k": 20})], RaceSettings(20), 9) == 0
