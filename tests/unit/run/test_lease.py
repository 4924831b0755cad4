"""Who holds a run folder, and whether that one lives."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from nuggets_ray.errors import UserError
from nuggets_ray.run import lease as leases
from nuggets_ray.run.lease import (
    ALIVE,
    DEAD,
    SILENT,
    STALE_S,
    Lease,
    is_on_a_local_disk,
    process_started,
    read_lease,
    submission_id,
    take_lease,
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


@pytest.mark.parametrize("has_lock", [True, False])
def test_of_drivers_that_come_in_the_same_instant_one_gets_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_lock: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr(leases, "SETTLE_S", 0.5)
    if not has_lock:
        monkeypatch.setattr(fcntl, "flock", refuse)
    num, taken, refused = 8, list[str](), list[str]()
    together = threading.Barrier(num)

    def come(name: str) -> None:
        together.wait()
        try:
            take_lease(str(tmp_path / "run"), name, "score")
            taken.append(name)
        except UserError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=come, args=(str(index),)) for index in range(num)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1 and len(refused) == num - 1
    held = read_lease(str(tmp_path / "run"))
    assert held is not None and held.attempt_id == taken[0]
    assert all("is in use by process" in one for one in refused)


def test_a_disk_that_others_may_write_to_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disks(**kind_of: str) -> None:
        found = [
            SimpleNamespace(mountpoint=str(tmp_path / name), fstype=kind)
            for name, kind in kind_of.items()
        ]
        found.append(SimpleNamespace(mountpoint="/", fstype="ext4"))
        monkeypatch.setattr(leases.psutil, "disk_partitions", lambda all: found)

    disks(run="nfs4")
    assert is_on_a_local_disk(str(tmp_path)) and not is_on_a_local_disk(str(tmp_path / "run"))
    assert is_on_a_local_disk(str(tmp_path / "runs"))
    disks(run="fuse.s3fs")
    assert not is_on_a_local_disk(str(tmp_path / "run" / "first"))


def test_who_stays_at_the_door_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "HEARTBEAT_S", 0.1)
    door = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(door, fcntl.LOCK_EX)
    with pytest.raises(UserError, match="is in use by another process"):
        take_lease(str(tmp_path), "a", "score")
    os.close(door)
    take_lease(str(tmp_path), "a", "score")


@pytest.mark.parametrize("lives", [True, False])
def test_a_machine_whose_clock_is_behind_keeps_its_folder(
    own: Lease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lives: bool
) -> None:
    monkeypatch.setattr(leases, "HEARTBEAT_S", 0.5)
    behind = replace(own, host="elsewhere", heartbeat=time.time() - 3600)
    leases.write_json(leases.RunFolder(str(tmp_path)).lease, leases.asdict(behind))
    if not lives:
        take_lease(str(tmp_path), "b", "score")
        return

    def beat() -> None:
        time.sleep(0.3)
        later = replace(behind, heartbeat=behind.heartbeat + 0.5)
        leases.write_json(leases.RunFolder(str(tmp_path)).lease, leases.asdict(later))

    beating = threading.Thread(target=beat)
    beating.start()
    with pytest.raises(UserError, match="in use by process .* on elsewhere .*life 36"):
        take_lease(str(tmp_path), "b", "score")
    beating.join()
