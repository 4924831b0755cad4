"""lease.json: which process holds a run folder while it works there, and whether that one lives.

A driver writes it every few seconds. It is taken over once its process is gone, or where that
cannot be seen from here, once the last sign of life is stale and none more comes: clocks of two
machines may differ. Of drivers that come in the same instant one gets it: by a lock of the folder,
or where other machines see it too, by who wrote last.
"""

import contextlib
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields

import psutil

from nuggets_ray import io
from nuggets_ray.errors import UserError
from nuggets_ray.io import write_json
from nuggets_ray.run.layout import RunFolder

logger = logging.getLogger(__name__)

HEARTBEAT_S = 5.0
"""Between two signs of life."""
SETTLE_S = 1.0
"""Where there is no lock: from writing the lease until it is seen who wrote last."""
LOCAL_FILE_SYSTEMS = (
    *("apfs", "bcachefs", "btrfs", "ext2", "ext3", "ext4"),
    *("f2fs", "overlay", "tmpfs", "xfs", "zfs"),
)
STALE_S = 60.0
"""After so long without a sign of life a driver is taken for dead, or for stuck where its process
is there.
"""
ALIVE, SILENT, DEAD = "alive", "silent", "dead"


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds the folder. `heartbeat`: the last sign of life, in seconds since 1970; `pids`: the
    namespace of its process ids, where it is known; `submission_id`: the name of the submitted job.
    """

    attempt_id: str
    host: str
    pid: int
    process_started: int | None
    heartbeat: float
    stage: str = ""
    pids: str = ""
    submission_id: str | None = None

    @property
    def is_of_this_machine(self) -> bool:
        """Whether its process id means something here: a container has a host's name now and then,
        and process ids of its own.
        """
        is_here = self.host == socket.gethostname()
        return is_here and self.pids in ("", _pid_namespace())

    def state(self) -> str:
        """ALIVE, DEAD, or SILENT: the process is there, and gives no sign of life."""
        is_fresh = self.age_s() < STALE_S
        if not self.is_of_this_machine:
            return ALIVE if is_fresh else DEAD
        if process_started(self.pid) != self.process_started:
            return DEAD
        return ALIVE if is_fresh and not _is_stopped(self.pid) else SILENT

    def age_s(self) -> float:
        """Seconds since the last sign of life."""
        return max(0.0, time.time() - self.heartbeat)


def read_lease(out_dir: str) -> Lease | None:
    """The lease of a run folder; None where nobody holds it."""
    try:
        content = io.read_json(RunFolder(out_dir).lease)
    except FileNotFoundError:
        return None
    known = {field.name for field in fields(Lease)}
    with io.telling_damage(RunFolder(out_dir).lease):
        return Lease(**{key: value for key, value in content.items() if key in known})


def write_lease(out_dir: str, attempt_id: str, stage: str) -> None:
    """Hold the folder: a sign of life of this process."""
    pid = os.getpid()
    lease = Lease(
        attempt_id=attempt_id,
        host=socket.gethostname(),
        pid=pid,
        process_started=process_started(pid),
        heartbeat=time.time(),
        stage=stage,
        pids=_pid_namespace(),
        submission_id=submission_id(),
    )
    write_json(RunFolder(out_dir).lease, asdict(lease))


def take_lease(out_dir: str, attempt_id: str, stage: str) -> None:
    """Hold the folder from now on. Raises UserError where another driver does."""
    with _alone(out_dir) as is_alone:
        before = read_lease(out_dir)
        if before is not None:
            holder = before if before.state() != DEAD else _renewed(out_dir, before)
            if holder is not None:
                raise _in_use(out_dir, holder)
            logger.info("taking over from attempt %s, which is gone", before.attempt_id)
        write_lease(out_dir, attempt_id, stage)
    if not is_alone:
        time.sleep(SETTLE_S)
        last = read_lease(out_dir)
        if last is None or last.attempt_id != attempt_id:
            raise _in_use(out_dir, last)


def _renewed(out_dir: str, lease: Lease) -> Lease | None:
    """What takes the place of a lease of another machine that looks stale; None where nothing does
    for a while."""
    if lease.is_of_this_machine:
        return None
    until = time.monotonic() + 2 * HEARTBEAT_S
    logger.info("seeing for %.0f s whether %s still works here", 2 * HEARTBEAT_S, lease.host)
    while time.monotonic() < until:
        time.sleep(HEARTBEAT_S / 5)
        now = read_lease(out_dir)
        if now is not None and now != lease:
            return now
    return None


def _in_use(out_dir: str, lease: Lease | None) -> UserError:
    held = "another process"
    if lease is not None:
        held = f"process {lease.pid} on {lease.host} (last sign of life {lease.age_s():.0f} s ago)"
    return UserError(
        f"out_dir={out_dir} is in use by {held}: wait for it, stop it, or give another out_dir"
    )


@contextlib.contextmanager
def _alone(out_dir: str) -> Iterator[bool]:
    """No other process of this machine is in here; whether none of another machine can be either.

    Raises UserError where another process stays in here.
    """
    if io.is_remote(out_dir):
        yield False
        return
    os.makedirs(out_dir, exist_ok=True)
    folder = os.open(out_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        until = time.monotonic() + 3 * HEARTBEAT_S
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise _in_use(out_dir, read_lease(out_dir)) from None
                time.sleep(0.05)
                continue
            except OSError:  # a file system without locks
                yield False
            else:
                yield is_on_a_local_disk(out_dir)
            return
    finally:
        os.close(folder)


def is_on_a_local_disk(path: str) -> bool:
    """Whether no other machine writes to the file system of `path`, as far as its kind tells: what
    NFS and the like lock on a folder is this machine's alone."""
    there = os.path.realpath(path)
    found = [
        (len(disk.mountpoint), disk.fstype)
        for disk in psutil.disk_partitions(all=True)
        if os.path.commonpath([there, disk.mountpoint]) == disk.mountpoint
    ]
    return bool(found) and max(found)[1] in LOCAL_FILE_SYSTEMS


def submission_id() -> str | None:
    """The name under which this process was submitted to a Ray cluster; None where it was not."""
    try:
        job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    except ValueError:
        return None
    name = job.get("metadata", {}).get("job_submission_id")
    return str(name) if name else None


def process_started(pid: int) -> int | None:
    """When process `pid` of this host started, in clock ticks since boot; None where it is gone or
    not known.

    A process id is used again in time, so it alone does not say that a driver lives.
    """
    stat = _stat(pid)
    return int(stat[19]) if stat and stat[0] != "Z" else None


def _is_stopped(pid: int) -> bool:
    """Whether it has been halted, as by Ctrl-Z."""
    stat = _stat(pid)
    return bool(stat) and stat[0] in "Tt"


def _stat(pid: int) -> list[str]:
    """What Linux says of a process from its state on; [] where there is none, or no Linux."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rpartition(")")[2].split()
    except OSError:
        return []


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
