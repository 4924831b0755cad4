"""lease.json: which process holds a run folder while it works there, and whether that one lives.

A driver writes it every few seconds. It is taken over once its process is gone, or where that
cannot be seen from here, once the last sign of life is stale.
"""

import json
import os
import socket
import time
from dataclasses import asdict, dataclass, fields

from nuggets_ray import io
from nuggets_ray.io import write_json
from nuggets_ray.run.layout import RunFolder

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
