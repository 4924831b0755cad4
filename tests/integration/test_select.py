"""The select job as a user runs it."""

import json
from pathlib import Path

import pytest
from score_runs import run_job
from scored_run import finished_run


@pytest.fixture
def out_dir(tmp_path: Path) -> str:
    return finished_run(str(tmp_path / "run"))


def test_the_job_prints_a_table_and_one_json_line(out_dir: str) -> None:
    finished = run_job("select_topk", f"out_dir={out_dir}", "select.fraction=0.2")
    assert finished.returncode == 0, finished.stderr
    *table, last = finished.stdout.splitlines()
    assert json.loads(last)["num_rows"] == 4
    assert json.loads(last)["status"] == "done"
    assert table[0] == "selection golden"
    assert [line.split() for line in table[1:3]] == [["num_rows", "4"], ["num_scored", "21"]]
    assert Path(out_dir, "selections", "golden", "selected.jsonl").exists()
    assert "Golden scores of 20 scored rows" in finished.stdout
    assert "The cut is at 0.8" in finished.stdout and "vraag 19" in finished.stdout


def test_private_rows_stay_off_the_terminal(out_dir: str) -> None:
    finished = run_job("select_topk", f"out_dir={out_dir}", "select.show_text=false")
    assert finished.returncode == 0, finished.stderr
    assert "c19" in finished.stdout and "vraag" not in finished.stdout
    settings = json.loads(Path(out_dir, "selections", "golden", "selection.json").read_text())
    assert "show_text" not in settings["settings"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["select=top_k", "select.k=22"], "select.k=22 asks for 22 rows, but only 20 distinct"),
        (["select.k=5"], "select.k=5 is not used by select.rule=top_fraction"),
        (["select=threshold", "select.min_score=0.99"], "select.min_score=0.99 keeps nothing"),
    ],
)
def test_the_job_ends_with_one_sentence_and_code_2(
    out_dir: str, overrides: list[str], message: str
) -> None:
    finished = run_job("select_topk", f"out_dir={out_dir}", *overrides)
    assert finished.returncode == 2
    assert message in finished.stderr
    assert "Traceback" not in finished.stderr
