"""Rounds of a race: what is decided is what is read, and a plan half written does not count."""

import dataclasses
from pathlib import Path

import numpy as np

from nuggets_ray import io
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.rounds import (
    AnsweredRow,
    Round,
    RoundAsk,
    pilot_ids,
    read_answers,
    read_rounds,
    write_answers,
    write_round,
)

ROUND = Round(
    number=2,
    asks=(
        RoundAsk(np.array(["a", "b"]), np.array([5, 1])),
        RoundAsk(np.array(["c"]), np.array([9])),
    ),
    target=3,
    block=np.array([9]),
    report={"phase": "block 3", "cutoff": 61.5},
)


def test_a_round_reads_back(tmp_path: Path) -> None:
    write_round(str(tmp_path), ROUND)
    [back] = read_rounds(str(tmp_path))
    assert (back.number, back.target, back.report) == (2, 3, ROUND.report)
    assert [ask.content_ids.tolist() for ask in back.asks] == [["a", "b"], ["c"]]
    assert [ask.anchors.tolist() for ask in back.asks] == [[5, 1], [9]]
    assert back.block is not None and back.block.tolist() == [9]


def test_what_a_plan_foresaw_of_rows_reads_back_and_older_plans_foresaw_nothing(
    tmp_path: Path,
) -> None:
    foreseen = np.array([[61.5, 2.5], [58.0, 3.0]])
    first, second = ROUND.asks
    asks = (dataclasses.replace(first, forecast_n2=foreseen), second)
    write_round(str(tmp_path), dataclasses.replace(ROUND, asks=asks))
    [back] = read_rounds(str(tmp_path))
    assert back.asks[0].forecast_n2 is not None
    assert back.asks[0].forecast_n2.tolist() == foreseen.tolist()
    assert back.asks[1].forecast_n2 is None
    uri = RunFolder(str(tmp_path)).round(2).rows
    io.write_table(uri, io.read_table(uri).select(["content_id", "ask"]))
    [old] = read_rounds(str(tmp_path))
    assert [ask.forecast_n2 for ask in old.asks] == [None, None]


def test_a_plan_without_its_last_file_does_not_count(tmp_path: Path) -> None:
    write_round(str(tmp_path), ROUND)
    Path(RunFolder(str(tmp_path)).round(2).plan).unlink()
    assert read_rounds(str(tmp_path)) == []


def test_the_pilot_is_known(tmp_path: Path) -> None:
    assert pilot_ids(str(tmp_path)) is None
    write_round(str(tmp_path), dataclasses.replace(ROUND, number=0, report={"phase": "pilot"}))
    write_round(str(tmp_path), ROUND)
    pilot = pilot_ids(str(tmp_path))
    assert pilot is not None and pilot.tolist() == ["a", "b", "c"]


def test_answers_read_back_by_ask(tmp_path: Path) -> None:
    out_dir = str(tmp_path)
    write_round(out_dir, ROUND)
    write_answers(out_dir, 2, "first", 0, [AnsweredRow("a", 3, 4, 1, np.array([-1.5, -2.5]))])
    write_answers(out_dir, 2, "first", 1, [AnsweredRow("c", 5, 6, 0, np.array([-0.5]))])
    answers = {part.ask: part for part in read_answers(out_dir, 2)}
    assert answers[0].one_shot_NS.tolist() == [[-1.5, -2.5]]
    assert answers[0].tokens_N3.tolist() == [[3, 4, 1]]
    assert answers[1].content_ids.tolist() == ["c"]
    assert list(read_answers(out_dir, 7)) == []
