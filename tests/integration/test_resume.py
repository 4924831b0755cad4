"""Nothing is lost: actors and drivers killed at any moment, a row that kills its worker, Ctrl-C."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from faulty_workers import KILLS_ITS_WORKER, run_faulty
from score_runs import (
    command,
    environment,
    manifest_of,
    ray_sessions,
    read_scores,
    result_of,
    run_job,
    score_overrides,
    write_rows,
)

from nuggets_ray.run.status import read_status

NUM_ROWS = 160
BLOCK_ROWS = 4


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl", NUM_ROWS)


@pytest.fixture(scope="module")
def undisturbed(data: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out_dir = tmp_path_factory.mktemp("undisturbed") / "out"
    result_of(run_job("score", *overrides(data, tiny_model, out_dir, 2)))
    return out_dir


def overrides(data: Path, model: Path, out_dir: Path, num_workers: int) -> list[str]:
    more = [
        f"score.block_rows={BLOCK_ROWS}",
        f"cluster.num_workers={num_workers}",
        "progress_s=0.5",
    ]
    return score_overrides(data, model, out_dir, "anchors.num=20", *more)


def start(
    data: Path, model: Path, out_dir: Path, num_workers: int, script: Path | None = None
) -> subprocess.Popen[bytes]:
    """The score job, or `script` in its place, in a session of its own, so that all of it can be
    killed.
    """
    python, job, *arguments = command("score", *overrides(data, model, out_dir, num_workers))
    return subprocess.Popen(
        [python, str(script or job), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=open(out_dir.parent / "stderr.txt", "ab"),
        start_new_session=True,
        env=environment(),
    )


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a driver and every process it started, as when its machine dies."""
    family = [process.pid] + [p.pid for p in psutil.Process(process.pid).children(recursive=True)]
    for pid in family:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def wait_for(
    condition: Callable[[], bool], process: subprocess.Popen[bytes], timeout_s: float = 300
) -> bool:
    """Wait until `condition()`; False where the process ended before it."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.02)
    raise AssertionError("waited too long")


def num_parts(out_dir: Path) -> int:
    return len(list((out_dir / "scores").glob("part-*.parquet"))) if out_dir.exists() else 0


def assert_same_scores(out_dir: Path, undisturbed: Path) -> None:
    """Log-probs within 1e-5, every decision with |delta| > 1e-4 the same, each id once."""
    found, expected = read_scores(out_dir), read_scores(undisturbed)
    assert set(found) == set(expected)
    assert len(expected) == NUM_ROWS
    for example_id, row in expected.items():
        np.testing.assert_allclose(
            found[example_id]["one_shot_logprob"], row["one_shot_logprob"], atol=1e-5
        )
        assert found[example_id]["num_wins"] == row["num_wins"]


def worker_pids(out_dir: Path) -> list[int]:
    """The processes that score, as the manifest of the attempt that is going names them."""
    try:
        return list(manifest_of(out_dir)["stages"]["score"]["attempts"][-1].get("worker_pids", []))
    except (FileNotFoundError, KeyError, IndexError):
        return []


@pytest.mark.parametrize("num_kills", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_killed_drivers_and_workers_lose_nothing(
    num_kills: int, data: Path, tiny_model: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out_dir = tmp_path / "out"
    draw = random.Random(7)
    total = NUM_ROWS // BLOCK_ROWS
    # before the first part, then at random shares of the work
    moments = [0, *sorted(draw.sample(range(2, total - 4), num_kills))]
    for kill, moment in enumerate(moments):
        process = start(data, tiny_model, out_dir, 1 + kill % 2)
        if moment == 0:
            assert wait_for(lambda: (out_dir / "anchors.parquet").exists(), process)
            assert num_parts(out_dir) == 0
        else:
            assert wait_for(lambda moment=moment: num_parts(out_dir) >= moment, process)
            assert read_status(str(out_dir)).state == "running"
        kill_tree(process)
        dead = read_status(str(out_dir))
        assert (dead.state, dead.attempt_number) == ("killed", kill + 1)
        assert dead.next[0].startswith("python jobs/score.py data.path="), "what goes on from here"
    # a worker alone, which is replaced; and the driver in the middle of compaction: the new part is
    # there, the old ones are half deleted
    script = tmp_path / "stops_in_compaction.py"
    script.write_text(STOPS_IN_COMPACTION, encoding="utf-8")
    before = num_parts(out_dir)
    process = start(data, tiny_model, out_dir, 2, script)
    assert wait_for(lambda: num_parts(out_dir) > before and bool(worker_pids(out_dir)), process)
    os.kill(worker_pids(out_dir)[0], signal.SIGKILL)
    driver = psutil.Process(process.pid)
    assert wait_for(lambda: driver.status() == psutil.STATUS_STOPPED, process)
    told = read_status(str(out_dir)).told
    assert told is not None and told.workers is not None and told.warning is not None
    assert told.phase == "putting the scores together" and told.workers.lost == 1
    assert "of 2 is lost (by a signal such as SIGKILL or SIGSEGV" in told.warning.text
    parts = [path.name for path in (out_dir / "scores").glob("part-*.parquet")]
    kill_tree(process)
    assert len(parts) > 1 and sum("compact" in name for name in parts) == 1
    result = result_of(run_job("score", *overrides(data, tiny_model, out_dir, 1)))
    assert result["num_scored"] == NUM_ROWS
    done = read_status(str(out_dir))
    assert (done.state, done.counts["num_scored"], done.is_alive) == ("done", NUM_ROWS, False)
    assert_same_scores(out_dir, undisturbed)
    attempts = manifest_of(out_dir)["stages"]["score"]["attempts"]
    num_killed = len(moments) + 1  # the last of them in compaction
    assert [attempt["status"] for attempt in attempts] == ["killed"] * num_killed + ["done"]
    num_computed = sum(attempt.get("num_computed", 0) for attempt in attempts)
    assert NUM_ROWS <= num_computed <= NUM_ROWS + (num_killed + 1) * 2 * BLOCK_ROWS
    assert sum(attempt.get("num_reused", 0) for attempt in attempts) > 0


def num_ready(out_dir: Path) -> int:
    """Workers that are ready, as someone else sees it; 0 before anything is told of them."""
    status = read_status(str(out_dir))
    assert (status.stage, status.state) == ("score", "running")
    workers = status.told.workers if status.told else None
    return workers.ready if workers else 0


def interrupt(process: subprocess.Popen[bytes], number: signal.Signals) -> int:
    """Send the signal to the whole group, as a terminal and `timeout` do; Ctrl-C twice."""
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
        time.sleep(0.2)
    os.killpg(process.pid, number)
    return process.wait(timeout=300)


def test_an_interrupted_run_keeps_what_is_finished(
    data: Path, tiny_model: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out_dir = tmp_path / "out"
    for number in (signal.SIGTERM, signal.SIGINT):
        before, started = num_parts(out_dir), time.time()
        process = start(data, tiny_model, out_dir, 2)
        assert wait_for(lambda before=before: num_parts(out_dir) >= before + 3, process)
        assert wait_for(lambda: num_ready(out_dir) >= 1, process), "as told while it goes on"
        code = interrupt(process, number)
        status = read_status(str(out_dir))
        assert (status.state, status.num_written) == ("interrupted", len(read_scores(out_dir)))
        said = (tmp_path / "stderr.txt").read_text()
        assert code == 130, said
        assert said.rstrip().endswith("run the same command again to go on from it")
        for fright in ("Traceback", "*** SIG", "Stack trace", "PC: @", "logging.cc", "absl::"):
            assert fright not in said
        assert manifest_of(out_dir)["stages"]["score"]["status"] == "interrupted"
        assert not (out_dir / "lease.json").exists()
        # a thread that is still at work must not start another Ray
        assert len(ray_sessions(process.pid, started)) == 1
    kept = len(read_scores(out_dir))
    assert 0 < kept < NUM_ROWS
    result_of(run_job("score", *overrides(data, tiny_model, out_dir, 2)))
    assert_same_scores(out_dir, undisturbed)
    last = manifest_of(out_dir)["stages"]["score"]["attempts"][-1]
    assert last["num_reused"] == kept and last["num_computed"] == NUM_ROWS - kept


def test_a_row_that_kills_its_worker_is_given_up_tried_once_more_and_the_rest_is_scored(
    data: Path, tiny_model: Path, undisturbed: Path, tmp_path: Path
) -> None:
    arguments = overrides(data, tiny_model, tmp_path / "out", 2)
    ended = run_faulty(KILLS_ITS_WORKER, tmp_path, *arguments)
    result = result_of(ended)
    assert (result["num_scored"], result["num_skipped"]) == (NUM_ROWS - 1, 1)
    assert "1 candidates have no score (1 killed_worker): the same command tries" in ended.stderr
    found, expected = read_scores(tmp_path / "out"), read_scores(undisturbed)
    lost = set(expected) - set(found)
    assert len(lost) == 1
    for example_id in found:
        assert found[example_id]["num_wins"] == expected[example_id]["num_wins"]
    [row] = pq.read_table(tmp_path / "out/skipped.parquet").to_pylist()
    assert row["reason"] == "killed_worker" and row["row_number"] == 77 and row["num_tries"] == 1
    # nothing to try: no worker starts, so no model is loaded
    ended = run_job("score", *arguments, "data.retry=[]")
    assert result_of(ended)["num_skipped"] == 1
    assert "nothing is left to score" in ended.stderr and "not tried again" in ended.stderr
    last = manifest_of(tmp_path / "out")["stages"]["score"]["attempts"][-1]
    assert "worker_pids" not in last and last["num_computed"] == 0
    # tried once more, by workers without the fault
    ended = run_job("score", *arguments)
    again = result_of(ended)
    assert "1 candidates that an earlier attempt gave up (1 killed_worker)" in ended.stderr
    assert (again["num_scored"], again["num_skipped"]) == (NUM_ROWS, 0)
    assert_same_scores(tmp_path / "out", undisturbed)


@pytest.mark.slow
def test_workers_that_die_while_they_load_the_model_end_the_run(
    data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    ended = run_faulty(DIES_LOADING, tmp_path, *overrides(data, tiny_model, tmp_path / "out", 1))
    assert ended.returncode == 2, ended.stderr
    said = ended.stderr.splitlines()[-1]
    assert said.startswith(f"error: model.path={tiny_model}: 3 workers in a row died")
    assert "by a signal such as SIGKILL" in said and "cluster.num_workers=1" in said
    assert manifest_of(tmp_path / "out")["stages"]["score"]["status"] == "failed"


@pytest.mark.slow
def test_a_disk_that_fills_up_in_a_worker_is_one_sentence(
    data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    ended = run_faulty(FILLS_THE_DISK, tmp_path, *overrides(data, tiny_model, tmp_path / "out", 1))
    assert ended.returncode == 1, ended.stderr
    said = ended.stderr.splitlines()[-1]
    assert said.startswith(f"error: no space is left in {tmp_path / 'out' / 'scores'}: what is")
    assert "Traceback" not in ended.stderr
    assert manifest_of(tmp_path / "out")["stages"]["score"]["status"] == "failed"
    assert num_parts(tmp_path / "out") == 2


STOPS_IN_COMPACTION = '''
"""The score job, which stops itself before it deletes the fifth part that compaction replaced."""

import os
import signal

from nuggets_ray import io
from nuggets_ray.jobs import run_job

delete = io.delete
num_deleted = 0


def delete_or_stop(uri):
    global num_deleted
    num_deleted += "/scores/part-" in uri
    if num_deleted == 5:
        os.kill(os.getpid(), signal.SIGSTOP)
    delete(uri)


io.delete = delete_or_stop
run_job("score")
'''

DIES_LOADING = """
scorer.make_prompt = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
"""

FILLS_THE_DISK = """
import errno

from nuggets_ray import io

write_bytes, num_parts = io.write_bytes, 0


def full(uri, data):
    nonlocal num_parts
    num_parts += "/scores/" in uri
    if num_parts == 3:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), uri)
    write_bytes(uri, data)


io.write_bytes = full
"""
