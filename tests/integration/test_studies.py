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


TRAINED = (
    *("study=correlation", "study.groups=3", "study.arms=[group-2]", "finetune.max_steps=1"),
    *("finetune.batch_rows=4", "finetune.dtype=float32", "finetune.micro_batch_tokens=256"),
    *("cluster.address=local", "cluster.num_workers=1", "cluster.object_store_gib=0.15"),
)


@pytest.mark.slow
def test_arms_are_trained_kept_and_not_trained_again(
    studied: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    held_out = write_rows(tmp_path_factory.mktemp("held") / "rows.jsonl", 70)
    lines = held_out.read_text(encoding="utf-8").splitlines()[60:]
    held_out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    arguments = (f"out_dir={studied}", *TRAINED, f"evaluate.held_out_path={held_out}")
    done = run_job("study", *arguments)
    assert done.returncode == 0, done.stderr
    folder = RunFolder(str(studied)).study("correlation")
    kept = {path.name: path.read_bytes() for path in Path(folder.path, "arms").iterdir()}
    assert sorted(kept) == [f"study-group-2-{seed}.json" for seed in range(3)]
    gains = {json.loads(text)["result"]["gain"] for text in kept.values()}
    assert len(gains) > 1, "another seed is another training"
    assert "1 of 3 groups are trained so far" in done.stdout
    page = Path(folder.page).read_text(encoding="utf-8")
    assert "not trained yet: study-group-1-0" in page and "signal: ifd, rds" in page
    assert list(Path(studied, "models").iterdir()) == [], "weights go once the numbers are kept"
    rows = sorted(Path(studied, "evaluation", "likelihood").glob("study-group-2-*.json"))
    assert [path.name for path in rows] == sorted(kept), "the log-probs of the answers stay"
    again = run_job("study", *arguments)
    assert again.returncode == 0 and "3 trainings, 3 of them known already" in again.stderr
    assert {p.name: p.read_bytes() for p in Path(folder.path, "arms").iterdir()} == kept


def test_the_correlation_study_needs_held_out_rows(studied: Path) -> None:
    done = run_job("study", f"out_dir={studied}", *TRAINED)
    assert done.returncode == 2 and "evaluate.held_out_path is missing" in done.stderr
