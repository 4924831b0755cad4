"""jobs/study.py as a user runs it: rows scored first where they are not, then studied; a finished
run as it stands.
"""

import json
from pathlib import Path

import pytest
from score_runs import run_job, score_overrides, write_rows

from nuggets_ray import io
from nuggets_ray.run.layout import RunFolder

STUDY = ("study=anchor_robustness", "study.draws=3", "study.cuts=[0.1]")


@pytest.fixture(scope="module")
def studied(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, shared_ray: None) -> Path:
    data = write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl", 60)
    out_dir = tmp_path_factory.mktemp("studied")
    overrides = score_overrides(data, tiny_model, out_dir, "anchors.num=12", *STUDY)
    done = run_job("study", *overrides)
    assert done.returncode == 0, done.stderr
    assert "With 12 anchors the top 10% is repeatable to" in done.stdout
    return out_dir


def test_rows_are_scored_first_and_then_studied_in_one_command(studied: Path) -> None:
    folder = RunFolder(str(studied)).study("anchor_robustness")
    page = Path(folder.page).read_text(encoding="utf-8")
    assert "60 of 60 that met every anchor" in page
    assert all(Path(folder.path, f"{name}.png").is_file() for name in ("cuts", "signals"))
    told = json.loads(Path(folder.numbers).read_text())
    rows = io.read_table(folder.table).to_pylist()
    assert len(rows) == len(told["numbers"])
    measured = [row for row in rows if row["part"] == "size" and row["is_measured"]]
    assert {row["num_anchors"] for row in measured} == {3, 6}


def test_a_finished_run_is_studied_without_its_data(studied: Path) -> None:
    done = run_job("study", f"out_dir={studied}", *STUDY, "study.min_overlap=1")
    assert done.returncode == 0, done.stderr
    assert "importing" not in done.stderr, "no torch, no Ray"
    assert "too small a set for this cut" in done.stdout
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["status"] == "done" and all(Path(uri).is_file() for uri in result["wrote"])


def test_a_folder_without_scores_is_a_mistake_with_a_way_out(tmp_path: Path) -> None:
    done = run_job("study", f"out_dir={tmp_path}")
    assert done.returncode == 2
    assert "holds no scores yet" in done.stderr and "jobs/score.py" in done.stderr
