"""Signals of the matrix, of a folder that was never asked for any."""

from pathlib import Path

import numpy as np
import pytest
from made_up_scores import score_row
from shown_run import ZERO_SHOT, one_shot, readable_run

from nuggets_ray.run.matrix_signals import read_matrix, read_matrix_signals
from nuggets_ray.run.rounds import Round, RoundAsk, write_round
from nuggets_ray.run.scores import write_eliminated_scores, write_scores

IDS = np.array([f"c{number:02d}" for number in range(12)])
NAMES = ("standardised_delta", "loss_ratio")


def test_rows_are_read_once_without_themselves_as_anchors(tmp_path: Path) -> None:
    [part] = read_matrix(readable_run(str(tmp_path)))
    assert part.content_id_N.tolist() == IDS.tolist()
    assert np.isnan(part.one_shot_NA).sum() == 1 and np.isnan(part.one_shot_NA[2, 0])


def test_values_of_a_row_are_what_its_log_probs_make(tmp_path: Path) -> None:
    values = read_matrix_signals(readable_run(str(tmp_path)), IDS[::-1], NAMES)
    delta_NA = np.array([one_shot(number) - ZERO_SHOT for number in range(12)], np.float64)
    delta_NA[2, 0] = np.nan
    expected_N = np.nanmean(delta_NA / np.nanstd(delta_NA, axis=0), axis=1)
    assert values["standardised_delta"] == pytest.approx(expected_N[::-1], abs=1e-5)
    ratio = float(np.mean(ZERO_SHOT / one_shot(7)))
    assert values["loss_ratio"][4] == pytest.approx(ratio, abs=1e-5)


def test_a_row_without_scores_has_none(tmp_path: Path) -> None:
    values = read_matrix_signals(readable_run(str(tmp_path)), np.array(["zz", "c01"]), NAMES)
    assert np.isnan(values["loss_ratio"]).tolist() == [True, False]


def test_of_a_race_the_pilot_gives_the_spread_and_rows_left_behind_have_none(
    tmp_path: Path,
) -> None:
    out_dir = readable_run(str(tmp_path))
    rows = [score_row(name, one_shot(number)) for name, number in (("p0", 4), ("p1", 6))]
    write_scores(out_dir, "race", rows)
    write_eliminated_scores(
        out_dir, "race", [score_row("left", [np.nan, -1.0, -1.0, -1.0], "eliminated")]
    )
    every = np.arange(4)
    write_round(
        out_dir,
        Round(0, (RoundAsk(np.array(["p0", "p1"]), every),), None, None, {"phase": "pilot"}),
    )
    values = read_matrix_signals(out_dir, np.array(["p0", "p1", "left"]), NAMES)
    # rows 4 and 6 differ by 0.2 on each anchor: a spread of 0.1
    delta = np.array([one_shot(4) - ZERO_SHOT, one_shot(6) - ZERO_SHOT]) / 0.1
    assert values["standardised_delta"][:2] == pytest.approx(delta.mean(axis=1), abs=1e-3)
    assert np.isnan(values["standardised_delta"][2]) and np.isnan(values["loss_ratio"][2])
