"""A local run opens no door: whatever its processes listen on while they score, train on two
workers and generate is loopback, and who reaches it needs the run's token. Its outputs are as open
as the user's umask says.
"""

import http.client
import importlib.util
import json
import os
import re
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import psutil
import pytest
from evaluate_runs import make_model, pipeline_overrides
from score_runs import command, environment, write_rows

from nuggets_ray.stages.cluster.own_ray import USAGE_STATS

POLL_S = 0.5
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""Both are web servers; the first runs commands, if no other Ray of the machine has its port."""
UMASK = 0o027
ALL_BITS = {True: 0o777, False: 0o666}
"""For a folder and for a file: DeepSpeed makes some of its own executable."""
BACKEND = "vllm" if importlib.util.find_spec("vllm") else "transformers"


@dataclass(frozen=True, order=True)
class Door:
    """Where a process of the run listens; `process` is its name, such as ray::ReplicaActor."""

    process: str
    address: str
    port: int

    @property
    def is_loopback(self) -> bool:
        return ip_address(self.address.removeprefix("::ffff:")).is_loopback


@dataclass(frozen=True)
class Watched:
    """A job that has ended, what was seen of it, how its agent answered a stranger, and what Ray
    was told of reporting its usage."""

    out_dir: Path
    doors: frozenset[Door]
    strangers: dict[int, int]
    usage_stats: frozenset[str | None]


class Watch(threading.Thread):
    """Looks again and again where the processes of a session listen."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        self.doors: set[Door] = set()
        self.strangers: dict[int, int] = {}
        self.usage_stats: set[str | None] = set()
        self._process = process
        self._driver = psutil.Process(process.pid)
        self._family = {process.pid: self._driver}

    def run(self) -> None:
        while self._process.poll() is None:
            doors = set(self._look())
            for door in doors - self.doors:
                if door.process in AGENTS:
                    self._knock(door)
            self.doors |= doors
            time.sleep(POLL_S)

    def _look(self) -> Iterator[Door]:
        with suppress(psutil.NoSuchProcess):
            # kept: what has lost its parent is no child any more
            for child in self._driver.children(recursive=True):
                self._family.setdefault(child.pid, child)
        # a number that a stranger has taken over is not ours
        self._family = {pid: one for pid, one in self._family.items() if one.is_running()}
        for process in self._family.values():
            with suppress(psutil.Error):
                if "--modules-to-load=UsageStatsHead" in process.cmdline():
                    self.usage_stats.add(process.environ().get(USAGE_STATS))
                name = os.path.basename((process.cmdline() or [process.name()])[0])
                if title := re.match(r"ray::\w+", name):  # what it does stands behind
                    name = title[0]
                for found in process.net_connections(kind="inet"):
                    if found.status == psutil.CONN_LISTEN:
                        yield Door(name, found.laddr.ip, found.laddr.port)

    def _knock(self, door: Door) -> None:
        """Ask for a command to be run, as anyone could who reaches the machine."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{door.port}/api/job_agent/jobs/",
            json.dumps({"entrypoint": "true"}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                self.strangers[door.port] = answer.status
        except urllib.error.HTTPError as error:
            self.strangers[door.port] = error.code
        except (OSError, http.client.HTTPException):
            pass  # not a web server


@pytest.fixture(scope="module")
def watched(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    folder = tmp_path_factory.mktemp("sockets")
    model = make_model(tiny_model, folder / "model")
    data = write_rows(folder / "rows.jsonl", 32)
    overrides = pipeline_overrides(
        *(data, model, folder / "out"),
        *("cluster.num_workers=2", "finetune.selections=[golden]"),
        *("evaluate.models=[golden]", "evaluate.show_answers=2"),
        *(f"generate.backend={BACKEND}", "generate.max_tokens=4"),
        *(["generate.vllm={max_model_len: 512}"] if BACKEND == "vllm" else []),
    )
    before = os.umask(UMASK)
    try:
        with open(folder / "stderr.txt", "wb") as errors:
            process = subprocess.Popen(
                command("pipeline", *overrides),
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={name: told for name, told in environment().items() if name != USAGE_STATS},
            )
    finally:
        os.umask(before)
    watch = Watch(process)
    watch.start()
    assert process.wait(600) == 0, (folder / "stderr.txt").read_text()
    watch.join()
    return Watched(
        folder / "out", frozenset(watch.doors), watch.strangers, frozenset(watch.usage_stats)
    )


def test_every_door_is_on_loopback(watched: Watched) -> None:
    seen = {door.process for door in watched.doors}
    assert seen >= {"gcs_server", "raylet", *AGENTS, "ray::MapWorker"}, seen
    assert seen >= {"ray::RayTrainWorker", "ray::ReplicaActor"}, seen
    assert [door for door in sorted(watched.doors) if not door.is_loopback] == []


def test_a_stranger_has_no_command_run(watched: Watched) -> None:
    """405 is the port that metrics are read from, which takes no command."""
    assert set(watched.strangers.values()) <= {401, 405}
    assert 401 in watched.strangers.values()


def test_ray_reports_no_usage(watched: Watched) -> None:
    assert watched.usage_stats == {"0"}


def test_outputs_follow_the_umask(watched: Watched) -> None:
    found = {path: path.stat().st_mode & 0o777 for path in watched.out_dir.rglob("*")}
    assert any(path.suffix == ".safetensors" for path in found)
    wrong = {
        str(path.relative_to(watched.out_dir)): oct(mode)
        for path, mode in found.items()
        if mode & ALL_BITS[path.is_dir()] != ALL_BITS[path.is_dir()] & ~UMASK
    }
    assert wrong == {}
