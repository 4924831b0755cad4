"""The report job as a user runs it."""

import json
from pathlib import Path

from reported_run import whole_run
from score_runs import run_job


def test_a_run_becomes_a_page(tmp_path: Path) -> None:
    out_dir = whole_run(str(tmp_path / "run"))
    finished = run_job("report", f"out_dir={out_dir}", "report.num_rows=5")
    assert finished.returncode == 0, finished.stderr
    result = json.loads(finished.stdout.splitlines()[-1])
    assert 3 <= result["num_rows"] <= 5
    assert result["wrote"][0] == f"{out_dir}/report/index.html"
    assert "Double 11." in Path(result["wrote"][0]).read_text(encoding="utf-8")


def test_a_folder_without_a_run_is_answered_in_a_sentence(tmp_path: Path) -> None:
    finished = run_job("report", f"out_dir={tmp_path}")
    assert finished.returncode == 2 and "no run has begun there" in finished.stderr
    assert "Traceback" not in finished.stderr
