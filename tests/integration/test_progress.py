"""What the progress of a run says, with a counter on Ray: lines, metrics,
manifest.
"""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import ray

from nuggets_ray.run.manifest import Run, read_manifest
from nuggets_ray.stages.finetune.progress import Board, TrainProgress
from nuggets_ray.stages.score.progress import Counter, Progress, progress_line

NUMBERS = {
    "num_done": 3,
    "num_rows": 40,
    "num_skipped": 1,
    "candidates_per_s": 0.126,
    "anchor_tokens_per_s": 12345.6,
    "eta_s": None,
}
TREE = {"engine": "tree", "why": "tree agrees", "max_pack_tokens": 4096}
SMALLER = {**TREE, "max_pack_tokens": 2048}


@pytest.mark.parametrize(
    ("eta_s", "shown"),
    [
        (None, "unknown"),
        (0.0, "0:00:00"),
        (59.4, "0:00:59"),
        (59.7, "0:01:00"),
        (3599.6, "1:00:00"),
        (3661.0, "1:01:01"),
        (400_000.0, "111:06:40"),
    ],
)
def test_a_line(eta_s: float | None, shown: str) -> None:
    assert progress_line({**NUMBERS, "eta_s": eta_s}) == (
        f"3/40 candidates, 0.13 candidates/s, 12,346 anchor tokens/s, 1 skipped, ETA {shown}"
    )


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
        ray.get([counter.add.remote(2, 200), counter.add.remote(1, 100)])
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
        assert numbers["eta_s"] == pytest.approx(1 / numbers["candidates_per_s"])
    assert "9/10 candidates, " in caplog.text
    assert f"worker 8 goes on with {SMALLER}" in caplog.text
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
        progress.poll()
        ray.get(counter.add.remote(4, 40))  # a worker was killed and its block came again
        progress.close()
        start, end = metrics(run)
        assert (start["num_done"], start["eta_s"]) == (1, None)
        assert (end["num_done"], end["eta_s"]) == (3, 0.0)
        assert run.attempt["num_computed"] == 4


def test_compiling_kernels_is_told_and_not_in_the_estimate(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    caplog.set_level(logging.INFO, logger="nuggets_ray")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    step = {"step": 4, "loss": 1.0, "learning_rate": 1e-5}
    with Run(str(tmp_path), "finetune-m") as run:
        board = Board.remote()
        progress = TrainProgress(run, board, 10, str(tmp_path / "finetune" / "m"), 1e6)
        bar = progress.bar
        bar.start_t, bar.last_print_t = bar.start_t - 100, bar.last_print_t - 100  # 100 s ago
        ray.get([board.say.remote("compiling shm (a minute)"), board.started.remote([step])])
        progress.poll()
        assert bar.format_dict["elapsed"] < 50
        assert (bar.n, bar.initial, bar.last_print_n) == (4, 4, 4), "none of them in this time"
        progress.close()
    assert "compiling shm (a minute)" in caplog.text
