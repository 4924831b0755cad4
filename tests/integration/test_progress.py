"""What the progress of a run says, with a counter on Ray: lines, metrics,
manifest.
"""

import json
import logging
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from nuggets_ray.run.manifest import Run, read_manifest
from nuggets_ray.run.stage_status import (
    StageStatus,
    WorkDone,
    WorkerCounts,
    read_stage_status,
)
from nuggets_ray.stages.cluster.deaths import Process
from nuggets_ray.stages.cluster.metrics import Metrics
from nuggets_ray.stages.finetune.progress import Board, TrainProgress
from nuggets_ray.stages.score.progress import Counter, Progress, progress_line

NUMBERS = {
    "num_done": 3,
    "num_rows": 40,
    "num_skipped": 1,
    "candidates_per_s": 0.126,
    "candidates_per_s_now": 1.5,
    "anchor_tokens_per_s": 12345.6,
}
FIRST = Process("node-1", "worker-1", "actor-1")
AGAIN = Process("node-1", "worker-2", "actor-1")
TREE = {"engine": "tree", "why": "tree agrees", "max_pack_tokens": 4096}
SMALLER = {**TREE, "max_pack_tokens": 2048}


@pytest.mark.parametrize(("eta_s", "shown"), [(None, "unknown"), (3661.0, "1 h 1 min")])
def test_a_line(eta_s: float | None, shown: str) -> None:
    assert progress_line({**NUMBERS, "eta_s": eta_s}) == (
        "3/40 candidates, 1.5 candidates/s now, 7.56 candidates/min over all, "
        f"12,346 anchor tokens/s, 1 skipped, ETA {shown}"
    )


def test_a_line_of_a_race_tells_when_its_round_and_when_the_whole_ends() -> None:
    line = progress_line({**NUMBERS, "eta_s": 60.0, "race_eta_s": 300.0})
    assert line.endswith("ETA 1 min, of the whole race about 5 min")


def metrics(run: Run) -> list[dict[str, Any]]:
    path = Path(run.out_dir, "metrics", f"{run.attempt_id}.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_lines_metrics_and_manifest_tell_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="nuggets_ray")
    with Run(str(tmp_path), "score") as run:
        counter = Counter.remote()
        progress = Progress(run, counter, num_rows=10, num_reused=4, interval_s=1e6)
        ray.get([counter.started.remote(7, TREE), counter.started.remote(8, TREE)])
        ray.get([counter.loading.remote(FIRST), counter.ready.remote(FIRST, 4.0)])
        progress.poll()
        ray.get([counter.add.remote(2, 200, 7), counter.add.remote(1, 100, 3)])
        progress.poll()
        assert metrics(run) == []  # an interval has not passed
        progress.num_skipped = 1
        progress.counts.update({"num_pairs": 6, "num_rescored": 2})
        progress.counts.update({"num_pairs": 4, "num_rescored": 1})
        ray.get([counter.started.remote(8, SMALLER), counter.add.remote(2, 200)])
        progress.close()
        [numbers] = metrics(run)
        counts = {key: numbers[key] for key in ("num_done", "num_rows", "num_skipped")}
        assert counts == {"num_done": 9, "num_rows": 10, "num_skipped": 1}
        assert numbers["anchor_tokens_per_s"] == pytest.approx(100 * numbers["candidates_per_s"])
        assert numbers["eta_s"] == pytest.approx(1 / numbers["candidates_per_s_now"])
        assert 0 <= numbers["computing_s"] <= numbers["elapsed_s"]
    assert "9/10 candidates, " in caplog.text
    assert "worker 1 of 1 is ready after 4.0 s" in caplog.text
    assert f"memory ran out: worker process 8 goes on with {SMALLER}" in caplog.text
    told = read_stage_status(str(tmp_path), "score")
    assert told is not None and told.work is not None and told.workers is not None
    assert (told.work.num_done, told.work.num_total, told.work.num_reused) == (9, 10, 4)
    assert told.workers.ready == 1 and told.numbers["skipped"] == 1
    manifest = read_manifest(str(tmp_path))
    assert manifest is not None
    [attempt] = manifest["stages"]["score"]["attempts"]
    assert (attempt["num_computed"], attempt["worker_pids"]) == (5, [7, 8])
    assert (attempt["num_pairs"], attempt["num_rescored"]) == (10, 3)
    assert attempt["engines"] == [TREE, SMALLER]


def test_rows_computed_twice_are_not_done_twice(tmp_path: Path) -> None:
    with Run(str(tmp_path), "score") as run:
        counter = Counter.remote()
        progress = Progress(run, counter, num_rows=3, num_reused=1, interval_s=1e-9)
        ray.get([counter.loading.remote(FIRST), counter.ready.remote(FIRST, 4.0)])
        progress.poll()
        ray.get(counter.add.remote(4, 40))  # a worker was killed and its block came again
        progress.close()
        start, end = metrics(run)
        assert (start["num_done"], start["eta_s"]) == (1, None)
        assert (end["num_done"], end["eta_s"]) == (3, 0)
        assert run.attempt["num_computed"] == 4


def test_a_block_that_is_tried_again_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Run(str(tmp_path), "score") as run:
        counter = Counter.remote()
        progress = Progress(run, counter, num_rows=3, num_reused=1, interval_s=1e6)
        ray.get([counter.hold.remote("block", FIRST), counter.hold.remote("block", AGAIN)])
        progress.poll()
        progress.close()
    assert "1 blocks are tried again: their worker was lost" in caplog.text
    told = read_stage_status(str(tmp_path), "score")
    assert told is not None and told.numbers["blocks_tried_again"] == 1


def test_a_training_tells_what_it_does_and_who_was_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="nuggets_ray")
    step = {"step": 4, "loss": 1.0, "learning_rate": 1e-5, "num_tokens": 50, "seconds": 0.5}
    steps: list[tuple[dict[str, float], int | None]] = []
    tracker = SimpleNamespace(log=lambda numbers, number: steps.append((numbers, number)))

    def told() -> StageStatus:
        progress.poll()
        run.tell(f"seen {len(steps)}")  # a phase is written at once
        status = read_stage_status(str(tmp_path), "finetune-m")
        assert status is not None
        return status

    with Run(str(tmp_path), "finetune-m") as run:
        board = Board.remote()
        folder = str(tmp_path / "finetune" / "m")
        progress = TrainProgress(run, board, 10, folder, 1e6, 2, tracker)  # type: ignore[arg-type]
        ray.get([board.say.remote("compiling shm (a minute)"), board.started.remote([])])
        workers = told().workers
        assert workers is not None and (workers.ready, workers.wanted) == (2, 2)
        ray.get(board.add.remote(step))
        progress.poll()
        numbers = {"loss": 1.0, "learning_rate": 1e-5, "tokens_per_s": 100.0}
        assert steps == [(numbers, 4)]
        ray.get(board.lost.remote("rank 1: it was killed by SIGKILL"))
        workers = told().workers
        assert workers is not None and (workers.ready, workers.lost, workers.replaced) == (0, 1, 0)
        ray.get(board.started.remote([{**step, "step": 3}]))
        progress.poll()
        for number in (4, 5, 6):
            ray.get(board.add.remote({**step, "step": number}))
        progress.close()
    last = read_stage_status(str(tmp_path), "finetune-m")
    assert last is not None and last.work is not None and last.workers is not None
    assert (last.work.unit, last.work.num_done, last.work.num_total) == ("steps", 6, 10)
    assert last.work.eta_s == pytest.approx(4 * 0.5) and last.numbers == numbers
    assert (last.workers.ready, last.workers.lost, last.workers.replaced) == (2, 1, 1)
    assert "compiling shm (a minute)" in caplog.text
    assert "workers are lost (rank 1: it was killed by SIGKILL): all begin again" in caplog.text


def test_the_numbers_reach_prometheus(tmp_path: Path) -> None:
    """Through Ray's agent of this node, which exports them every few seconds."""
    with Run(str(tmp_path / "exported"), "score") as run:
        metrics = Metrics(run)
        metrics.count({"nuggets_candidates": 7})
        metrics.count({"nuggets_candidates": 9})
        metrics.follow(WorkDone("candidates", 9, 10), WorkerCounts(wanted=2, ready=1, lost=1))
        [node] = ray.nodes()
        url = f"http://127.0.0.1:{node['MetricsExportPort']}/metrics"
        expected = {
            "ray_nuggets_candidates_total": 9.0,
            "ray_nuggets_work_done": 9.0,
            "ray_nuggets_work_all": 10.0,
            "ray_nuggets_workers_ready": 1.0,
            "ray_nuggets_workers_lost_total": 1.0,
        }
        deadline, found = time.monotonic() + 90, {}
        while found != expected and time.monotonic() < deadline:
            time.sleep(1)
            text = urllib.request.urlopen(url, timeout=10).read().decode()
            lines = [line for line in text.splitlines() if 'run="exported"' in line]
            exported = {line.partition("{")[0]: float(line.split()[-1]) for line in lines}
            found = {name: exported.get(name) for name in expected}
    assert found == expected
