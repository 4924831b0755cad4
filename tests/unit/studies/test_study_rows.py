"""The rows that are trained on, with the signals that the run has."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scored_run import finished_run, write_scores

from nuggets_ray import io
from nuggets_ray.errors import UserError
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.scores import SCORE_SCHEMA
from nuggets_ray.studies.study_rows import mean_signal, read_study_rows


def test_copies_are_left_out_and_missing_signals_are_all_nan(tmp_path: Path) -> None:
    rows = read_study_rows(finished_run(str(tmp_path)), "golden_score")
    assert len(rows.example_id_N) == 20 and "c12-2" not in rows.example_id_N
    np.testing.assert_allclose(rows.values["golden_score"], np.arange(20) / 20)
    assert np.isnan(rows.values["ifd"]).all() and np.isnan(rows.values["rds"]).all()
    assert rows.values["longest"][0] == 100
    assert mean_signal(rows, "golden_score", [0, 2]) == pytest.approx(0.05)
    assert np.isnan(mean_signal(rows, "ifd", [0, 2]))


def test_a_signal_that_the_run_lacks_is_refused_with_the_way_to_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"study.by=ifd: this run does not have it: run .*ifd"):
        read_study_rows(finished_run(str(tmp_path)), "ifd")


def test_a_race_has_no_golden_groups(tmp_path: Path) -> None:
    out_dir = finished_run(str(tmp_path))
    write_scores(out_dir, 2, range(3))
    for uri in io.list_files(RunFolder(out_dir).scores, ".parquet"):
        table = io.read_table(uri)
        rows = [row | {"golden_score": None} for row in table.to_pylist()]
        io.write_table(uri, pa.Table.from_pylist(rows[:5], schema=SCORE_SCHEMA))
        break
    with pytest.raises(UserError, match="study.by=golden_score: .* a race left them behind"):
        read_study_rows(out_dir, "golden_score")
