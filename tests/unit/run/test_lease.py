"""Who holds a run folder, and whether that one lives."""

import json
import os
import signal
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nuggets_ray.run.lease import (
    ALIVE,
    DEAD,
    SILENT,
    STALE_S,
    Lease,
    process_started,
    read_lease,
    submission_id,
    write_lease,
)


@pytest.fixture
def own(tmp_path: Path) -> Lease:
    write_lease(str(tmp_path), "a", "score")
    lease = read_lease(str(tmp_path))
    assert lease is not None
    return lease


def test_this_process_is_alive(own: Lease) -> None:
    assert (own.attempt_id, own.stage, own.pid) == ("a", "score", os.getpid())
    assert own.is_of_this_machine and own.state() == ALIVE and own.age_s() < STALE_S


def test_a_process_that_gives_no_sign_is_silent_and_one_that_is_gone_is_dead(own: Lease) -> None:
    stale = time.time() - STALE_S - 1
    assert replace(own, heartbeat=stale).state() == SILENT
    assert replace(own, process_started=1).state() == DEAD, "the id is another process's now"


def test_a_process_that_is_halted_is_silent_at_once(own: Lease) -> None:
    with subprocess.Popen(["sleep", "600"]) as halted:
        started = process_started(halted.pid)
        lease = replace(own, pid=halted.pid, process_started=started)
        assert lease.state() == ALIVE
        halted.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, halted.pid, os.WSTOPPED | os.WNOWAIT)
        assert lease.state() == SILENT
        halted.kill()
        halted.wait()
        assert lease.state() == DEAD


@pytest.mark.parametrize("changes", [{"host": "elsewhere"}, {"pids": "pid:[1]"}])
def test_of_another_machine_or_container_the_last_sign_of_life_decides(
    own: Lease, changes: dict[str, str]
) -> None:
    other = replace(own, process_started=1, **changes)
    assert not other.is_of_this_machine and other.state() == ALIVE
    assert replace(other, heartbeat=time.time() - STALE_S - 1).state() == DEAD


def test_no_lease_and_one_of_an_earlier_version(tmp_path: Path) -> None:
    assert read_lease(str(tmp_path)) is None
    old = {"attempt_id": "a", "host": socket.gethostname(), "pid": os.getpid(), "heartbeat": 1.0}
    old |= {"process_started": process_started(os.getpid()), "to_come": 1}
    (tmp_path / "lease.json").write_text(json.dumps(old))
    lease = read_lease(str(tmp_path))
    assert lease is not None and lease.is_of_this_machine and lease.state() == SILENT


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ('{"metadata": {"job_submission_id": "first"}}', "first"),
        ("{}", None),
        ("no json", None),
    ],
)
def test_the_name_of_a_submitted_job(
    given: str, name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", given)
    assert submission_id() == name
