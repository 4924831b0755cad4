"""`make ray-up`, `make submit` and `make ray-down` as a user runs them, beside another Ray.

They run on a small project in a folder of its own, with this repository's Makefile, script and
environment, on free ports: a cluster that someone has up on the default ports is not touched.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

JOB = """
import json, os, sys
import ray

ray.init(log_to_driver=False)
facts = {"arguments": sys.argv[1:], "files": sorted(os.listdir(".")), "prefix": sys.prefix}
facts["one"] = ray.get(ray.remote(lambda: 1).remote())
print(json.dumps(facts))
sys.exit("fail" in sys.argv)
"""

# Takes longer to end in order than the 3 s that Ray gives by default.
WAITS = """
import signal, sys, time

def end(*_):
    time.sleep(5)
    print("ended in order", flush=True)
    sys.exit(130)

signal.signal(signal.SIGTERM, end)
print("waiting", flush=True)
time.sleep(600)
"""

# Another Ray of the same machine: answers each line of its input, until the input ends.
OTHER_RAY = """
import sys
import ray

ray.init(address="local", num_cpus=1, include_dashboard=False, object_store_memory=80_000_000)
for line in sys.stdin:
    print(ray.get(ray.remote(lambda: "alive").remote()), flush=True)
"""


def free_ports(num: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(num)]
    ports = [open_socket.getsockname()[1] for open_socket in sockets]
    for open_socket in sockets:
        open_socket.close()
    return ports


PLANTED = "sk-planted-0123456789abcdef"
DASHBOARD_PAGES = (
    *(
        "/api/jobs/",
        "/api/version",
        "/api/cluster_status",
        "/nodes?view=summary",
        "/logical/actors",
    ),
    *("/api/v0/tasks?detail=1", "/api/v0/workers?detail=1", "/api/v0/runtime_envs?detail=1"),
)


class Project:
    """A small project with our Makefile, and the environment that keeps its cluster apart."""

    def __init__(self, folder: Path, temp: Path) -> None:
        self.folder, self.temp = folder, temp
        (folder / "jobs").mkdir()
        (folder / "jobs" / "facts.py").write_text(JOB)
        (folder / "jobs" / "waits.py").write_text(WAITS)
        (folder / "runs").mkdir()
        (folder / "runs" / "large.bin").write_bytes(b"0" * 1000)
        (folder / "docker").mkdir()
        for name in ("data", "models", "my_env"):
            (folder / name).mkdir()
            (folder / name / "pyvenv.cfg").touch()
        (folder / ".env").write_text("SECRET=1")
        for name in (
            "Makefile",
            "pyproject.toml",
            "docker/ray_cluster.sh",
            "docker/ray_cluster.py",
        ):
            shutil.copy2(ROOT / name, folder / name)
        names = ("PORT", "DASHBOARD_PORT", "AGENT_PORT")
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.dashboard_port = ports["DASHBOARD_PORT"]
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
            **{f"CLUSTER_{name}": str(port) for name, port in ports.items()},
            "CLUSTER_WORKER_PORTS": "23000-23999",
            "CLUSTER_OBJECT_STORE_MIB": "100",
            "CLUSTER_TEMP": str(temp),
            "VENV": sys.prefix,
            **dict.fromkeys(("JUDGE_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY"), PLANTED),
        }

    def make(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        # -o setup: the environment that runs this test is the one to use, however it was made
        return subprocess.run(
            ["make", "-o", "setup", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def commands(self) -> list[str]:
        """Command lines of this machine's processes with the cluster's temp folder in them."""
        return [command for command in command_lines() if f"{self.temp}/" in command]


def command_lines() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended since
            yield path.read_text(errors="replace")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    # a Unix socket's path is short, pytest's folders are not
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="nuggets-") as temp:
        project = Project(tmp_path, Path(temp))
        try:
            yield project
        finally:
            project.make("ray-down")


@pytest.fixture
def other_ray() -> Iterator[subprocess.Popen[str]]:
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER_RAY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert answer(other) == "alive"
    yield other
    other.communicate()


def answer(other: subprocess.Popen[str]) -> str:
    assert other.stdin and other.stdout
    other.stdin.write("\n")
    other.stdin.flush()
    return other.stdout.readline().strip()


def test_up_submit_down(project: Project, other_ray: subprocess.Popen[str]) -> None:
    up = project.make("ray-up")
    assert up.returncode == 0, up.stdout + up.stderr
    assert f"http://127.0.0.1:{project.dashboard_port}" in up.stdout
    assert (project.temp / "token").stat().st_mode & 0o777 == 0o600
    assert not any("client.server" in command for command in project.commands())
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"http://127.0.0.1:{project.dashboard_port}/api/jobs/")

    again = project.make("ray-up")
    assert again.returncode != 0
    assert "already up" in again.stderr

    with tempfile.TemporaryDirectory(dir="/tmp") as temp:
        beside = project.make("ray-up", CLUSTER_TEMP=temp)
    assert beside.returncode != 0
    assert "is taken on this machine" in beside.stderr

    submitted = project.make("submit", "JOB=facts", "NAME=first", "ARGS=out_dir=/a/b 'x=y z'")
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    facts = json.loads(next(line for line in submitted.stdout.splitlines() if line[:1] == "{"))
    assert facts["arguments"] == ["out_dir=/a/b", "x=y z"]
    assert facts["prefix"] == sys.prefix
    assert facts["one"] == 1
    assert facts["files"] == ["Makefile", "docker", "jobs", "pyproject.toml"]
    assert "job first: make status | make logs NAME=first | make stop NAME=first" in (
        submitted.stdout
    )
    taken = project.make("submit", "JOB=facts", "NAME=first")
    assert taken.returncode != 0 and "NAME=first: a job of this cluster has that" in taken.stderr

    check_that_no_secret_is_told(project)

    failed = project.make("submit", "JOB=facts", "ARGS=fail")
    assert failed.returncode != 0
    check_that_a_job_outlives_who_shows_it(project)

    down = project.make("ray-down")
    assert down.returncode == 0, down.stderr
    assert wait_until(lambda: not project.commands())
    assert answer(other_ray) == "alive"

    after = project.make("submit", "JOB=facts")
    assert after.returncode != 0
    assert "make ray-up" in after.stderr


def check_that_no_secret_is_told(project: Project) -> None:
    """Neither the cluster's own token nor a key in its environment, by the dashboard or a log."""
    token = (project.temp / "token").read_text()
    for page in DASHBOARD_PAGES:
        request = urllib.request.Request(
            f"http://127.0.0.1:{project.dashboard_port}{page}",
            headers={"Authorization": f"Bearer {token}"},
        )
        with urllib.request.urlopen(request) as reply:
            said = reply.read().decode()
        assert "first" in said or "/jobs" not in page, "it does tell of the job"
        assert PLANTED not in said and token not in said, page
    logs = [path for path in project.temp.rglob("*") if path.is_file() and path.name != "token"]
    assert any(path.name.startswith("job-driver-first") for path in logs)
    for path in logs:
        content = path.read_bytes()
        assert PLANTED.encode() not in content and token.encode() not in content, path


def press_ctrl_c(showing: subprocess.Popen[str]) -> str:
    """What it prints then. As a person does, again where nothing happens: Ray's client loses one
    that comes while it waits for the next lines."""
    for _ in range(4):
        os.killpg(showing.pid, signal.SIGINT)
        try:
            return showing.communicate(timeout=20)[0]
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("it does not end")


def check_that_a_job_outlives_who_shows_it(project: Project) -> None:
    """Ctrl-C ends the showing; status, logs and stop find the job by its name."""
    command = ["make", "-o", "setup", "submit", "JOB=waits", "NAME=second", "ARGS=out_dir=/a/b"]
    showing = subprocess.Popen(
        command,
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert showing.stdout is not None
    seen = ""
    while "waiting" not in seen:
        line = showing.stdout.readline()
        assert line, seen
        seen += line
    rest = press_ctrl_c(showing)
    assert "job second goes on: make logs NAME=second" in rest
    assert "make stop NAME=second ends it in order" in rest
    status = project.make("status")
    [line] = [line for line in status.stdout.splitlines() if line.startswith("second ")]
    assert "RUNNING" in line and line.endswith("python jobs/waits.py out_dir=/a/b")
    stopped = project.make("stop")  # the only one that runs
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    logs = project.make("logs", "NAME=second")
    assert "waiting" in logs.stdout and "ended in order" in logs.stdout
    assert "no job runs" in project.make("stop").stderr


def test_up_says_why_it_failed_twice(project: Project) -> None:
    up = project.make("ray-up", CLUSTER_WORKER_PORTS="23999-23000")
    assert up.returncode != 0
    assert up.stderr.count("max_worker_port must be higher") == 2
    assert up.stderr.count("Ray ended while starting") == 2
    assert "one more try" in up.stderr and "in two tries" in up.stderr
    assert not project.commands()


def test_down_spares_a_process_that_took_over_the_pid(project: Project) -> None:
    with subprocess.Popen(["sleep", "600"]) as bystander:
        (project.temp / "pid").write_text(str(bystander.pid))
        down = project.make("ray-down")
        assert down.returncode == 0
        assert "no cluster up" in down.stdout
        assert bystander.poll() is None
        bystander.terminate()


def test_submit_names_the_jobs_there_are(project: Project) -> None:
    submitted = project.make("submit", "JOB=nothing")
    assert submitted.returncode != 0
    assert "jobs/nothing.py" in submitted.stderr
    assert "facts" in submitted.stderr


def wait_until(happened: Callable[[], bool], limit_s: float = 30) -> bool:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if happened():
            return True
        time.sleep(0.2)
    return False
