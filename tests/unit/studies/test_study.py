"""The study job on a run that is scored."""

from pathlib import Path

import pytest
from studied_run import factor_deltas, studied_run

from nuggets_ray.config.study import StudyConfig
from nuggets_ray.errors import UserError
from nuggets_ray.studies.study import STUDIES, study_run

CONFIG = StudyConfig(draws=3, cuts=[0.1])


def test_a_scored_run_is_studied_and_nothing_else_of_it_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out_dir = studied_run(str(tmp_path), factor_deltas(120, 24))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    result = study_run(out_dir, CONFIG, 0)
    assert result["status"] == "done" and result["study"] == "anchor_robustness"
    assert all(Path(uri).is_file() for uri in result["wrote"])
    assert "With 24 anchors the top 10% is repeatable to" in capsys.readouterr().out
    after = {path: path.read_bytes() for path in before}
    assert after == before
    new = {path for path in tmp_path.rglob("*") if path.is_file()} - set(before)
    assert new == {Path(uri) for uri in result["wrote"]}


def test_a_run_without_scores_is_refused(tmp_path: Path) -> None:
    for name in STUDIES:
        with pytest.raises(UserError, match="holds no scores yet"):
            study_run(str(tmp_path), StudyConfig(name=name), 0)
