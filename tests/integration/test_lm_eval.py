"""EleutherAI's harness as a user runs it: on two workers, nothing put to a model twice."""

import json
from pathlib import Path
from typing import Any

import pytest
from evaluate_runs import read_lines, results_of
from harness_tasks import NUM_ROWS, write_tasks
from score_runs import result_of, run_job

pytest.importorskip("lm_eval")


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    return write_tasks(tmp_path / "tasks")


def evaluate(tasks: Path, model: Path, out_dir: Path, names: str, *more: str) -> Any:
    overrides = [
        f"out_dir={out_dir}",
        "evaluate=lm_eval",
        f"evaluate.tasks={names}",
        f"evaluate.tasks_path={tasks}",
        f"model.path={model}",
        "score.dtype=float32",
        "cluster.address=local",
        "cluster.num_workers=2",
        "cluster.object_store_gib=0.15",
    ]
    return run_job("evaluate", *overrides, *more)


def responses(out_dir: Path) -> dict[str, list[str]]:
    """{part: the keys of its responses}"""
    folder = out_dir / "evaluation" / "lm_eval" / "base" / "responses"
    return {p.name: [row["key"] for row in read_lines(p)] for p in folder.glob("part-*.jsonl")}


def own_results(out_dir: Path, task: str) -> list[dict[str, Any]]:
    """What the harness's own files of a task hold."""
    folder = out_dir / "evaluation" / "lm_eval" / "base"
    return [json.loads(path.read_bytes()) for path in folder.glob(f"{task}-*/results_*.json")]


@pytest.mark.slow
def test_nothing_is_put_to_a_model_twice_and_tasks_add_up(
    tasks: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out_dir = tmp_path / "run"
    job = evaluate(tasks, tiny_model, out_dir, "[capitals]", "evaluate.batch_size=4")
    [own] = own_results(out_dir, "capitals")
    assert own["config"]["batch_size"] == 4 and own["versions"]["capitals"] == 3.0
    assert {"configs", "n-samples", "task_hashes", "model_name"} <= set(own)
    [path] = [p for p in result_of(job)["wrote"] if "results_" in p]
    [samples] = Path(path).parent.glob("samples_capitals_*.jsonl")
    assert len(read_lines(samples)) == NUM_ROWS
    first = responses(out_dir)
    assert len(first) >= 2, "a block for each worker"
    assert sum(map(len, first.values())) == len({k for keys in first.values() for k in keys}) == 36

    again = evaluate(tasks, tiny_model, out_dir, "[capitals]")
    result_of(again)
    assert "36 responses are there already" in again.stderr
    assert responses(out_dir) == first and own_results(out_dir, "capitals") == [own]

    result_of(evaluate(tasks, tiny_model, out_dir, "[places,spelling]"))
    more = responses(out_dir)
    assert first.items() < more.items(), "what was there stays"
    assert sum(map(len, more.values())) == 36 + 36 + NUM_ROWS, "rivers and spelling alone"
    results = {one["metric"]: one for one in results_of(out_dir)["results"]}
    assert {name: one["n"] for name, one in results.items()} == {
        "capitals/acc": 12, "rivers/acc": 12, "places/acc": 24, "spelling/exact_match": 12,
    }  # fmt: skip
    for one in results.values():
        assert 0 <= one["low"] <= one["value"] <= one["high"] <= 1
    [group] = own_results(out_dir, "places")
    assert group["groups"]["places"]["acc,none"] == results["places/acc"]["value"]


def test_a_task_that_cannot_be_loaded_is_told_in_one_sentence(
    tasks: Path, tiny_model: Path, tmp_path: Path
) -> None:
    (tasks / "capitals.jsonl").unlink()
    job = evaluate(tasks, tiny_model, tmp_path / "run", "[capitals]")
    assert job.returncode == 2
    assert "evaluate.tasks=capitals: its data cannot be loaded" in job.stderr
    assert "evaluate.tasks_path" in job.stderr and "Traceback" not in job.stderr
