"""The screen of a run, line by line."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from nuggets_ray.run.funnel import make_funnel
from nuggets_ray.run.lease import Lease, read_lease, write_lease
from nuggets_ray.run.stage_status import Said, StageStatus, WorkDone, WorkerCounts
from nuggets_ray.run.status import RunStatus
from nuggets_ray.run.status_text import format_rate, status_lines

NOW = 1_795_000_100.0
TOLD = StageStatus(
    stage="score",
    attempt_id="a",
    phase="scoring 400 candidates in 104 blocks",
    phase_since=NOW - 60,
    work=WorkDone("candidates", 120, 400, 20, rate_now=4.0, rate=2.0, eta_s=70.0),
    progressed=NOW - 2,
    workers=WorkerCounts(wanted=3, loading=1, ready=1, lost=2, replaced=1),
    numbers={"anchor_tokens_per_s": 41158, "skipped": 3, "loss": 1.23456789},
    warning=Said("worker 2 of 3 is lost", NOW - 12),
)


@pytest.fixture
def lease(tmp_path: Path) -> Lease:
    write_lease(str(tmp_path), "a", "score")
    lease = read_lease(str(tmp_path))
    assert lease is not None
    return replace(lease, host="node-7", pid=41, heartbeat=time.time())


def make_status(lease: Lease | None, state: str = "running") -> RunStatus:
    return RunStatus(
        out_dir="/data/run",
        stage="score",
        state=state,
        attempt_id="a",
        attempt_number=2,
        started=NOW - 100,
        ended=None if lease else NOW - 40,
        stages={"score": state},
        lease=lease,
        told=TOLD,
        num_written=None,
        counts={},
        next=("one", "two"),
    )


def shown(status: RunStatus) -> dict[str, str]:
    lines = status_lines(status, NOW)
    return {line[:10].strip(): line[10:] for line in lines if line[:10].strip()}


def test_a_run_that_goes_on(lease: Lease) -> None:
    screen = shown(make_status(lease))
    assert screen["run"] == "/data/run"
    assert screen["stage"].startswith("score, attempt 2, begun 20")
    assert screen["state"].startswith("running: process 41 on node-7, last sign of life 0")
    assert screen["doing"] == "scoring 400 candidates in 104 blocks (for 1 min)"
    assert screen["workers"] == (
        "3 wanted, 1 ready, 1 loading, 1 not there yet, 2 lost, 1 of them replaced"
    )
    assert screen["done"] == ("120 of 400 candidates (30%), 20 of them before; the last 2.0 s ago")
    assert screen["rate"] == "4 candidates/s now, 2 candidates/s over all, ETA 1 min 10 s"
    assert screen["numbers"] == "anchor tokens/s 41,158, skipped 3, loss 1.235"
    assert screen["warning"] == "worker 2 of 3 is lost (12 s ago)"
    assert "error" not in screen and "stuck?" not in screen
    assert status_lines(make_status(lease), NOW)[-2:] == ["next      one", "          two"]


def test_a_dead_run_says_so_and_claims_no_eta(lease: Lease) -> None:
    dead = replace(make_status(lease, "killed"), num_written=118)
    screen = shown(dead)
    assert screen["state"].startswith("dead: process 41 on node-7 gives no sign of life any more")
    assert screen["was"].startswith("scoring 400") and "doing" not in screen
    assert "ETA" not in screen["rate"] and screen["written"] == "118 rows of scores"


def test_a_driver_that_does_not_answer(lease: Lease) -> None:
    assert "does not answer" in shown(make_status(lease, "stuck"))["state"]


def test_one_that_looks_stuck(lease: Lease) -> None:
    told = replace(TOLD, progressed=NOW - 4000)
    screen = shown(replace(make_status(lease), told=told))
    assert screen["stuck?"] == "nothing new for 1 h 7 min; the log says more"


def test_a_run_that_ended(lease: Lease) -> None:
    ended = make_status(None, "done")
    counts = {"num_rows": 400, "num_scored": 399, "num_skipped": 1}
    screen = shown(replace(ended, counts=counts, told=replace(TOLD, error=Said("why", NOW))))
    assert screen["state"] == "done" and screen["stage"].endswith("took 1 min")
    assert screen["counts"] == "400 rows, 399 scored, 1 skipped"
    assert "workers" not in screen and screen["error"] == "why (0 s ago)"


def test_a_race_shows_its_rounds_and_once_settled_its_promise(lease: Lease) -> None:
    report = {"phase": "pilot", "num_live": 48, "num_left": 0, "num_complete": 0}
    rounds = make_funnel([(0, report), (1, report | {"phase": "block 1", "num_live": 452})], {})
    for state in ("running", "killed"):
        lines = status_lines(replace(make_status(lease, state), rounds=rounds), NOW)
        first = next(i for i, line in enumerate(lines) if line.startswith("rounds"))
        assert "left behind" in lines[first] and "pilot" in lines[first + 1]
        assert lines[first + 1].startswith(" " * 10) and "block 1" in lines[first + 2]
    fell_back = replace(make_status(None, "done"), race={"fell_back": "12 candidates are few"})
    assert shown(fell_back)["race"] == "nothing to gain, so all was scored: 12 candidates are few"


def test_an_old_run_that_told_nothing() -> None:
    old = replace(make_status(None, "done"), told=None)
    assert set(shown(old)) == {"run", "stage", "state", "stages", "next"}


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (12345.6, "12,346 rows/s"),
        (1.76, "1.76 rows/s"),
        (0.126, "7.56 rows/min"),
        (0.002, "7.2 rows/h"),
        (0.0, "0 rows/s"),
    ],
)
def test_a_rate(rate: float, text: str) -> None:
    assert format_rate(rate, "rows") == text
