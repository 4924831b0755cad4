"""What ray_cluster.sh needs of Python.

ray_cluster.py start ARGUMENT ...          `ray start` without Ray's client server
ray_cluster.py wait DASHBOARD PID LIMIT_S  until a node is alive with its CPUs, else says why
ray_cluster.py excludes                    what of this folder no job is sent, for Ray
ray_cluster.py free DASHBOARD NAME         an error where a job has this name already
ray_cluster.py pick DASHBOARD NAME [running]  the name, or that of the last job where it is empty
ray_cluster.py jobs DASHBOARD NAME         a line a job, and how the run of each (or of that one) is
"""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# .gitignore's syntax. Ray leaves out what .gitignore names too; this holds where there is none.
NEVER_SENT = (".git", ".venv*", ".env*", "/data", "/models", "runs", "__pycache__", ".*_cache")
POLL_S = 1.0


def start(arguments: Sequence[str]) -> None:
    """Never returns with --block. On a busy machine Ray's client server, which no job of ours uses,
    does not come up in time, and `ray start --block` then ends everything.
    """
    from ray.scripts import scripts

    # what `ray start` asks before it takes the default port for one: no flag turns it off
    assert hasattr(scripts, "get_ray_client_dependency_error"), "Ray asks in another way now"
    scripts.get_ray_client_dependency_error = lambda: ImportError("the client server is left out")
    scripts.cli(["start", *arguments])


def wait(dashboard: str, pid: int, limit_s: float) -> str | None:
    """Wait for a node that is alive with its CPUs; None then, else why there is none."""
    deadline = time.monotonic() + limit_s
    missing = ""
    while time.monotonic() < deadline:
        if not _is_running(pid):
            return "Ray ended while starting"
        missing = _missing(dashboard)
        if not missing:
            return None
        time.sleep(POLL_S)
    return f"{missing} within {limit_s:g} s"


def _missing(dashboard: str) -> str:
    from ray.util.state import list_nodes

    try:
        nodes = list_nodes(dashboard, timeout=10, detail=True, raise_on_missing_output=False)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        return f"the dashboard at {dashboard} did not answer ({type(error).__name__}: {reason})"
    if any(node.state == "ALIVE" and node.resources_total.get("CPU") for node in nodes):
        return ""
    return f"no node with CPUs registered ({len(nodes)} nodes known)"


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()


def excludes(folder: Path) -> list[str]:
    """Patterns of what is not sent: caches, results, secrets, and any Python environment."""
    found = [f"/{_escaped(path)}" for path in _environments(folder)]
    return [*NEVER_SENT, *sorted(found)]


def _environments(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        if "pyvenv.cfg" in files and Path(place) != folder:
            folders.clear()
            yield Path(place).relative_to(folder).as_posix()
        folders[:] = [name for name in folders if name != ".git"]


def _escaped(path: str) -> str:
    return re.sub(r"([\\*?\[\]!# ])", r"\\\1", path)


@dataclass(frozen=True)
class SubmittedJob:
    """A job as Ray knows it. `started` and `ended`: seconds since 1970."""

    name: str
    state: str
    entrypoint: str
    started: float
    ended: float | None

    @property
    def is_over(self) -> bool:
        return self.state in ("SUCCEEDED", "FAILED", "STOPPED")

    @property
    def out_dir(self) -> str | None:
        """The run folder that its command names, if any."""
        words = shlex.split(self.entrypoint)
        given = [word.partition("=")[2] for word in words if word.startswith("out_dir=")]
        return given[-1] if given else None


def list_jobs(dashboard: str) -> list[SubmittedJob]:
    """The submitted jobs of the cluster, the last one last."""
    from ray.job_submission import JobSubmissionClient

    jobs = [
        SubmittedJob(
            job.submission_id,
            str(job.status.value),
            job.entrypoint,
            (job.start_time or 0) / 1000,
            job.end_time / 1000 if job.end_time else None,
        )
        for job in JobSubmissionClient(dashboard).list_jobs()
        if job.submission_id
    ]
    return sorted(jobs, key=lambda job: job.started)


def free(jobs: Sequence[SubmittedJob], name: str) -> str | None:
    """An error where a job has this name, which Ray would refuse in many lines."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        return f"error: NAME={name}: take letters, digits, points, dashes and underscores"
    if any(job.name == name for job in jobs):
        return f"error: NAME={name}: a job of this cluster has that name: take another"
    return None


def pick(jobs: Sequence[SubmittedJob], name: str, must_run: bool) -> SubmittedJob | str:
    """The job of this name, else the last one (of those that run, where that is asked for); an
    error where there is none, or where several run and none is named.
    """
    if name:
        named = [job for job in jobs if job.name == name]
        names = ", ".join(job.name for job in jobs) or "none"
        return named[0] if named else f"error: NAME={name}: there is no such job, but {names}"
    running = [job for job in jobs if not job.is_over]
    if must_run and len(running) > 1:
        names = ", ".join(job.name for job in running)
        return f"error: {len(running)} jobs run: say which with NAME=, of {names}"
    if must_run and not running:
        return "error: no job runs"
    return jobs[-1] if jobs else "error: no job was submitted to this cluster"


def job_lines(jobs: Sequence[SubmittedJob], now: float) -> list[str]:
    """A line a job."""
    if not jobs:
        return ["no job was submitted to this cluster: make submit JOB=score ARGS=..."]
    width = max(len(job.name) for job in jobs)
    lines = []
    for job in jobs:
        took = time.strftime("%H:%M:%S", time.gmtime((job.ended or now) - job.started))
        lines.append(f"{job.name:<{width}}  {job.state:<9}  {took}  {job.entrypoint}")
    return lines


def show_jobs(jobs: Sequence[SubmittedJob], name: str) -> None:
    """Print the jobs, and the status of the run of each that goes on, or of the one named."""
    print("\n".join(job_lines(jobs, time.time())), flush=True)
    status = Path("jobs/status.py")
    for job in jobs:
        is_shown = job.name == name if name else not job.is_over
        if is_shown and job.out_dir and status.is_file():
            print(flush=True)
            command = [sys.executable, str(status), f"out_dir={job.out_dir}"]
            shown = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout
            print("\n".join(line for line in shown.splitlines() if line[:1] != "{"), flush=True)


def main(command: str, *arguments: str) -> str | None:
    """An error's text, for sys.exit; None where all is well."""
    if command == "start":
        start(arguments)
    elif command == "wait":
        dashboard, pid, limit_s = arguments
        return wait(dashboard, int(pid), float(limit_s))
    elif command == "free":
        return free(list_jobs(arguments[0]), arguments[1])
    elif command == "pick":
        job = pick(list_jobs(arguments[0]), arguments[1], must_run="running" in arguments[2:])
        if isinstance(job, str):
            return job
        print(job.name)
    elif command == "jobs":
        show_jobs(list_jobs(arguments[0]), arguments[1])
    else:
        print(json.dumps({"excludes": excludes(Path.cwd())}))
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
