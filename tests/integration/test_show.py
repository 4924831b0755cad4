"""The show job as a user runs it."""

import json
from pathlib import Path

import pytest
from score_runs import run_job
from shown_run import readable_run


@pytest.fixture
def out_dir(tmp_path: Path) -> str:
    return readable_run(str(tmp_path / "run"))


def test_the_worst_rows_with_the_anchors_that_they_hurt(out_dir: str) -> None:
    finished = run_job("show", f"out_dir={out_dir}", "show.order=bottom", "show.num=2")
    assert finished.returncode == 0, finished.stderr
    *page, last = finished.stdout.splitlines()
    assert json.loads(last)["example_ids"] == ["c00", "c02"]
    assert page[0].startswith("2 of 13 scored rows, lowest golden_score first")
    assert "1. 0.00 [0.00, 0.49], helped 0 of 4 anchors" in page[2]
    assert "   assistant: It is 0." in page
    assert "   hurt most: -0.900 anchor a3 Task 3" in page


def test_private_rows_stay_off_the_terminal(out_dir: str) -> None:
    finished = run_job("show", f"out_dir={out_dir}", "show.search=double 1", "show.text=false")
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout.splitlines()[-1])["example_ids"] == ["c11", "c10", "c01"]
    assert "It is" not in finished.stdout and "Task" not in finished.stdout


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("show.id=c77", "show.id=c77: no scored row has this example_id or content_id"),
        ("show.search=nowhere", "show.search=nowhere: no scored row holds this text"),
        ("show.by=score", "show.by=score: take one of golden_score"),
    ],
)
def test_the_job_ends_with_one_sentence_and_code_2(
    out_dir: str, override: str, message: str
) -> None:
    finished = run_job("show", f"out_dir={out_dir}", override)
    assert finished.returncode == 2 and message in finished.stderr
    assert "Traceback" not in finished.stderr


def test_what_is_taken_from_the_run_is_said(out_dir: str) -> None:
    run_folder = Path(out_dir, "config", "score.yaml")
    run_folder.write_text(run_folder.read_text().replace("path: ''", "path: /models/m", 1))
    said = run_job("evaluate", f"out_dir={out_dir}", "--cfg", "job").stdout
    assert f"# Taken from the run in out_dir={out_dir}, as it is not given:\n" in said
    assert '#   model.path: "/models/m"\n' in said and '#   prompt.template: "auto"\n' in said
    trained = run_job("finetune", f"out_dir={out_dir}", "--cfg", "job", "model.path=/m").stdout
    assert trained.endswith(
        "# Nothing of this is taken from out_dir: it is given, or no run is there.\n"
    )
