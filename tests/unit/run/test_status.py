"""What is told of a run from its folder alone: running, stuck, killed, done, refused."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nuggets_ray.errors import UserError
from nuggets_ray.io import write_json
from nuggets_ray.run.command import COMMAND
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.lease import STALE_S, read_lease
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.rounds import Round, RoundAsk, write_round
from nuggets_ray.run.stage_status import WorkDone
from nuggets_ray.run.status import STUCK_S, RunStatus, read_status, seconds_without_progress

WORK = WorkDone("candidates", 4, 9, rate=2.0)

KILLED_RUN = """
import os, sys
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.rounds import Round, RoundAsk, write_round
from nuggets_ray.run.stage_status import WorkDone

run = Run(sys.argv[1], "score")
run.__enter__()
run.tell("scoring", work=WorkDone("candidates", 4, 9))
run.tell("scoring on")
os._exit(9)
"""


def kill_a_run(folder: Path) -> None:
    """A driver that dies at once, as by SIGKILL."""
    subprocess.run([sys.executable, "-c", KILLED_RUN, str(folder)], check=False, timeout=60)


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run has begun there; python jobs/score\.py begins"):
        read_status(str(tmp_path))


def test_a_run_that_goes_on(tmp_path: Path) -> None:
    with Run(str(tmp_path), "score") as run:
        run.tell("scoring", work=WORK)
        run.tell("scoring on")
        status = read_status(str(tmp_path))
    assert (status.state, status.stage, status.attempt_number) == ("running", "score", 1)
    assert status.is_alive and status.told is not None and status.told.phase == "scoring on"
    assert status.stages == {"score": "running"}
    watch, stop = status.next
    assert watch == f"python jobs/status.py out_dir={tmp_path} status.watch=true"
    assert f"kill -INT {os.getpid()}" in stop


def test_a_run_that_begins_has_no_manifest_yet(tmp_path: Path) -> None:
    with Run(str(tmp_path), "score") as run:
        (tmp_path / "manifest.json").rename(tmp_path / "away")
        status = read_status(str(tmp_path))
        (tmp_path / "away").rename(tmp_path / "manifest.json")
    assert (status.state, status.stage, status.attempt_number) == ("running", "score", 1)
    assert status.attempt_id == run.attempt_id


def test_a_killed_driver_is_told_dead(tmp_path: Path) -> None:
    kill_a_run(tmp_path)
    status = read_status(str(tmp_path))
    assert (status.state, status.is_alive) == ("killed", False)
    assert status.stages == {"score": "killed"} and status.num_written == 0
    assert status.told is not None and status.told.phase == "scoring on"
    assert status.next == ("the command that began score, which goes on from here",)


def test_a_driver_that_does_not_answer_is_stuck(tmp_path: Path) -> None:
    with Run(str(tmp_path), "score"):
        path = tmp_path / "lease.json"
        lease = read_lease(str(tmp_path))
        assert lease is not None
        content = path.read_text()
        path.write_text(content.replace(str(lease.heartbeat), str(time.time() - 2 * STALE_S)))
        assert read_status(str(tmp_path)).state == "stuck"


def test_a_submitted_job_is_stopped_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = '{"metadata": {"job_submission_id": "first"}}'
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", config)
    with Run(str(tmp_path), "score"):
        assert "ray job stop first" in read_status(str(tmp_path)).next[1]


def test_an_attempt_that_is_refused_leaves_the_stage_done(tmp_path: Path) -> None:
    with Run(str(tmp_path), "score"):
        pass
    before = COMMAND.set("python jobs/score.py score.dtype=float32")
    with pytest.raises(UserError), Run(str(tmp_path), "score"):
        raise UserError("holds scores made with another dtype")
    COMMAND.reset(before)
    status = read_status(str(tmp_path))
    assert (status.state, status.attempt_number) == ("refused", 2)
    assert status.stages == {"score": "done"}
    assert status.told is not None and status.told.error is not None
    assert status.told.error.text == "holds scores made with another dtype"
    assert status.told.command == "python jobs/score.py score.dtype=float32"
    assert "select_topk" in status.next[0], "it goes on from the scores that are there"


def test_what_an_earlier_attempt_told_is_not_this_one_s(tmp_path: Path) -> None:
    kill_a_run(tmp_path)
    with Run(str(tmp_path), "score") as run:
        first = (tmp_path / "status" / "score.json").read_text()
        path = tmp_path / "status" / "score.json"
        path.write_text(first.replace(run.attempt_id, "another"))
        assert read_status(str(tmp_path)).told is None


def make_selection(folder: RunFolder) -> None:
    write_json(folder.selection("golden").record, {})


@pytest.mark.parametrize(
    ("stage", "is_selected", "job"),
    [
        ("plan", False, "score.py"),
        ("score", False, "select_topk.py"),
        ("score", True, "finetune.py"),
        ("finetune-golden", True, "evaluate.py"),
        ("evaluate", True, "results.md"),
    ],
)
def test_what_to_type_next(tmp_path: Path, stage: str, is_selected: bool, job: str) -> None:
    if is_selected:
        make_selection(RunFolder(str(tmp_path)))
    with Run(str(tmp_path), stage):
        pass
    status = read_status(str(tmp_path))
    assert (status.stage, status.state) == (stage, "done")
    [step] = status.next
    assert job in step


def test_the_last_stage_is_the_one_that_is_told(tmp_path: Path) -> None:
    for stage in ("score", "finetune-golden"):
        with Run(str(tmp_path), stage):
            pass
        manifest = tmp_path / "manifest.json"
        content = manifest.read_text()
        manifest.write_text(
            content.replace('"started": "2', '"started": "1') if (stage == "score") else content
        )
    assert read_status(str(tmp_path)).stage == "finetune-golden"


def running(folder: Path) -> RunStatus:
    with Run(str(folder), "score") as run:
        run.tell("scoring")
        run.tell(work=WORK)
        run.tell("scoring")
        status = read_status(str(folder))
    assert status.told is not None
    return replace(status, told=replace(status.told, work=WORK, progressed=1000.0))


def test_slow_and_stuck_differ(tmp_path: Path) -> None:
    status = running(tmp_path)
    assert seconds_without_progress(status, 1000.0 + STUCK_S - 1) is None
    assert seconds_without_progress(status, 1000.0 + STUCK_S + 1) == STUCK_S + 1
    assert status.told is not None
    slow = replace(status, told=replace(status.told, work=replace(WORK, rate=0.01)))
    assert seconds_without_progress(slow, 1000.0 + STUCK_S + 1) is None, "20 of these take longer"
    assert status.told is not None
    began = replace(status, told=replace(status.told, progressed=None, phase_since=1000.0))
    assert seconds_without_progress(began, 1000.0 + STUCK_S + 1) == STUCK_S + 1
    dead = replace(status, state="killed")
    assert seconds_without_progress(dead, 1000.0 + 2 * STUCK_S) is None


REPORT = {"phase": "pilot", "num_live": 2, "num_left": 0, "num_complete": 0}


def decide(folder: Path) -> None:
    asks = (RoundAsk(np.array(["a", "b"]), np.arange(3)),)
    write_round(str(folder), Round(0, asks, None, None, REPORT))


def test_the_rounds_of_a_race_are_told_of_a_live_and_of_a_dead_run(tmp_path: Path) -> None:
    decide(tmp_path)
    with Run(str(tmp_path), "score") as run:
        run.manifest["race"] = {"top_k": 4}  # of an earlier race
        run.save()
        status = read_status(str(tmp_path))
        assert [one.phase for one in status.rounds] == ["pilot"] and status.race == {}
    status = read_status(str(tmp_path))
    assert status.state == "done" and status.race == {"top_k": 4} and len(status.rounds) == 1
    kill_a_run(tmp_path)
    status = read_status(str(tmp_path))
    assert status.state == "killed" and len(status.rounds) == 1 and status.race == {}


def test_a_race_that_fell_back_says_so_while_it_goes_on(tmp_path: Path) -> None:
    with Run(str(tmp_path), "score") as run:
        run.manifest["race"] = {"fell_back": "few"}
        run.save()
        assert read_status(str(tmp_path)).race == {"fell_back": "few"}
        decide(tmp_path)  # another call found a race to run
        assert read_status(str(tmp_path)).race == {}
