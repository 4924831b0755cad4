"""The signals that a selection asks, of a run that may not have them."""

import logging
from pathlib import Path

import numpy as np
import pytest
from shown_run import readable_run

from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.records import SignalRow
from nuggets_ray.run.joined import Scored, read_scored
from nuggets_ray.run.select_signals import with_signals
from nuggets_ray.run.signals import write_signals


@pytest.fixture
def out_dir(tmp_path: Path) -> str:
    """12 rows; 9 have an ifd, which rises from 0.4 to 1.2."""
    folder = readable_run(str(tmp_path / "run"))
    rows = [SignalRow(f"c{n:02d}", ifd=0.4 + n / 10, ifd_perplexity=0.5) for n in range(9)]
    write_signals(folder, "1", rows)
    return folder


def joined(out_dir: str, by: object, scores_path: str | None = None) -> Scored:
    config = SelectConfig(by=by, scores_path=scores_path)
    return with_signals(out_dir, read_scored(out_dir), config)


def test_what_scores_hold_needs_no_further_reading(out_dir: str) -> None:
    assert dict(joined(out_dir, "golden_score").scores.signals) == {}
    assert dict(joined(out_dir, {"longest": 1, "golden_score": 2}).scores.signals) == {}


def test_a_signal_that_no_row_has_is_refused_with_the_command(out_dir: str) -> None:
    with pytest.raises(UserError) as error:
        joined(out_dir, {"golden_score": 1, "rds": 1})
    message = str(error.value)
    assert "select.by=rds: no row of" in message and "'signals=[rds]'" in message


def test_rows_without_one_are_counted_named_and_the_way_to_it_told(
    out_dir: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        values = joined(out_dir, "ifd").scores.signals["ifd"]
    assert np.isnan(values).sum() == 3
    assert "3 of 13 scored rows have none (c09, c10, c11)" in caplog.text
    assert "'signals=[ifd]'" in caplog.text
    assert "2 rows have a ratio above 1" in caplog.text


def test_the_matrix_has_its_signals_in_any_folder(out_dir: str) -> None:
    scores = joined(out_dir, {"standardised_delta": 1, "loss_ratio": -1}).scores
    assert set(scores.signals) == {"standardised_delta", "loss_ratio"}
    assert all(np.isfinite(value_N).all() for value_N in scores.signals.values())


def test_a_file_s_column_joins_them_and_one_that_nobody_asks_for_is_told(
    out_dir: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "other.csv"
    file.write_text("id,ifd,q\n" + "".join(f"c{n:02d},{n},{n / 2}\n" for n in range(12)))
    scores = joined(out_dir, {"ifd": 1, "file.ifd": 1, "q": 1}, str(file)).scores
    assert set(scores.signals) == {"ifd", "file.ifd", "q"}
    assert scores.signals["file.ifd"][2] == 2 and scores.signals["q"][2] == 1
    caplog.clear()
    joined(out_dir, "longest", str(file))
    assert "select.by names no column of it" in caplog.text
