"""What the sections are made of."""

from pathlib import Path

import numpy as np
import pytest
from reported_run import choose, material, scored
from scored_run import write_candidates, write_scores

from nuggets_ray import io
from nuggets_ray.io import write_json
from nuggets_ray.report.material import evenly
from nuggets_ray.run.layout import RunFolder


def test_a_finished_run(tmp_path: Path) -> None:
    run = material(choose(scored(str(tmp_path))))
    assert run.table.num_rows == 13 and not run.is_partial
    assert run.ranked_N[0] == run.table["example_id"].to_pylist().index("c11")
    assert run.main is not None and run.main.name == "golden" and run.main.is_kept_N.sum() == 4
    assert run.sources is not None and run.sources.name == "category"
    assert len(run.anchors[0]) == 4 and run.anchor_texts[1] == "Task 1"


def test_the_sample_leaves_out_a_row_against_itself(tmp_path: Path) -> None:
    sample = material(scored(str(tmp_path))).sample
    assert sample is not None and sample.delta_SA.shape == (13, 4)
    assert np.isnan(sample.delta_SA).sum() == 1 and np.isnan(sample.delta_SA[2, 0])
    np.testing.assert_allclose(sample.delta_SA[4], (4 - 3 * np.arange(4)) / 10, atol=1e-5)


def test_a_run_that_still_goes_on_is_partial(tmp_path: Path) -> None:
    write_candidates(str(tmp_path), 0, range(20))
    write_scores(str(tmp_path), 0, range(15))
    run = material(str(tmp_path))
    assert run.is_partial and run.table.num_rows == 15
    assert run.joined is not None and run.joined.num_pending == 5
    assert run.sample is None, "there are no anchors"


def test_a_run_without_scores(tmp_path: Path) -> None:
    attempt = {"attempt_id": "a", "status": "running"}
    attempt |= {"started": "2026-01-01T10:00:00+00:00", "ended": None}
    stages = {"score": {"status": "running", "attempts": [attempt]}}
    write_json(RunFolder(str(tmp_path)).manifest, {"schema_version": 1, "stages": stages})
    run = material(str(tmp_path))
    assert run.joined is None and run.is_partial
    assert run.status is not None and run.status.state == "killed"


def test_some_rows_are_drawn_the_same_each_time(tmp_path: Path) -> None:
    run = material(scored(str(tmp_path)))
    assert run.some_rows(5).tolist() == run.some_rows(5).tolist()
    assert len(run.some_rows(5)) == 5 and len(run.some_rows(100)) == 13


@pytest.mark.parametrize("num, most, places", [(5, 3, [0, 2, 4]), (2, 9, [0, 1]), (1, 1, [0])])
def test_evenly(num: int, most: int, places: list[int]) -> None:
    assert evenly(num, most).tolist() == places


def test_a_broken_selection_is_left_out(tmp_path: Path) -> None:
    out_dir = choose(scored(str(tmp_path)))
    io.delete(RunFolder(out_dir).selection("golden").record)
    assert material(out_dir).selections == {} and material(out_dir).main is None
