"""A run that is broken at random moments, again and again.

The score job with a stand-in engine (stand_in.py), or a job as it is, on a Ray cluster of several
nodes of this machine, started anew, by the same command, whenever it ends early. Faults and the
seconds between them are drawn by the seed.
"""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
from cases import Case
from faults import FAULTS, MAX_WAIT_S, OF_WORKERS
from faulty_store import serving
from pyarrow import fs
from ray.cluster_utils import Cluster
from score_runs import command, environment, write_rows
from stand_in import __file__ as STAND_IN

from nuggets_ray.errors import UserError
from nuggets_ray.io import open_fs, read_json

NODE = {"include_dashboard": False, "object_store_memory": 100_000_000}
NUM_NODES = 2
"""Beside the head, which holds the driver's own actors; each has one worker."""
MAX_CALM_S = 15.0
"""Between two faults."""
NOT_TOLD = "before the first stage"


@dataclass(slots=True)
class Struck:
    """A fault of a run, in which of its stages, and how long it took until something was computed
    again (None: nothing was left to compute)."""

    kind: str
    at_s: float
    recovered_s: float | None = None
    stage: str = NOT_TOLD


@dataclass(slots=True)
class Survived:
    """What a run went through. `num_again` pairs were computed more often than once."""

    case: str
    num_starts: int = 0
    struck: list[Struck] = field(default_factory=list)
    seconds: float = 0.0
    num_pairs: int = 0
    num_again: int = 0


class Chaos:
    """A run of `case` in `folder`, on a small disk of its own where this user may mount one."""

    def __init__(
        self, case: Case, model: Path, folder: Path, seed: int, kinds: Sequence[str] = tuple(FAULTS)
    ) -> None:
        self.case, self.model, self.folder, self.kinds = case, model, folder, kinds
        folder.mkdir(parents=True, exist_ok=True)
        # of all runs of a case: what a run records of its data has the path in it
        self.rows = write_rows(folder.parent / f"{case.name}.jsonl", case.num_rows)
        self.trace = folder / "trace.jsonl"
        self.trace.touch()
        self.out_dir = folder / "disk" / "run"
        self.uri = "s3://chaos/run" if case.is_in_store else str(self.out_dir)
        self.refuses = folder / "refuses"
        self.random = random.Random(seed)
        self.cluster: Cluster | None = None
        self.driver: subprocess.Popen[bytes] | None = None
        self.has_disk = False
        self.to_come: list[str] = []
        self._moved: set[float] = set()

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """The small disk or the object store, for as long as this lasts."""
        with self._store() if self.case.is_in_store else self._disk():
            try:
                yield
            finally:
                self.end()

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        disk = self.out_dir.parent
        disk.mkdir()
        options = ["mount", "-t", "tmpfs", "-o", f"size={self.case.disk_mib}m", "tmpfs", str(disk)]
        self.has_disk = subprocess.run(options, capture_output=True).returncode == 0
        try:
            yield
        finally:
            if self.has_disk:
                subprocess.run(["umount", "-l", str(disk)], check=True)

    @contextlib.contextmanager
    def _store(self) -> Iterator[None]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        told = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }
        # of the cluster's nodes as of the driver, and of who reads what it has written
        with patch.dict(os.environ, told), serving(port, self.refuses, "chaos"):
            yield

    def keep(self, folder: Path) -> None:
        """Copy the run folder there."""
        folder.mkdir()
        store, path = open_fs(self.uri)
        fs.copy_files(path, str(folder), store, fs.LocalFileSystem())

    # -- what goes on -----------------------------------------------------------------------------

    def start_cluster(self) -> None:
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **NODE})
        for _ in range(NUM_NODES):
            self.add_node()
        self.cluster.wait_for_nodes()

    def add_node(self, environ: dict[str, str] | None = None) -> None:
        """A node with room for one worker."""
        assert self.cluster is not None
        self.cluster.add_node(num_cpus=1, wait=False, env_vars=environ, **NODE)

    def start_driver(self) -> subprocess.Popen[bytes]:
        if self.cluster is None:
            self.start_cluster()
        assert self.cluster is not None
        overrides = (
            f"data.path={self.rows}",
            f"model.path={self.case.model or self.model}",
            f"out_dir={self.uri}",
            "score.dtype=float32",
            f"cluster.address={self.cluster.address}",
            f"cluster.num_workers={NUM_NODES}",
            "progress_s=1",
            *self.case.overrides,
        )
        started = command(self.case.job, *overrides)
        if self.case.pause_s is not None:
            given = {"trace": str(self.trace), "pause_s": self.case.pause_s}
            given["address"] = self.cluster.address
            started = [sys.executable, STAND_IN, self.case.job, json.dumps(given), *overrides]
        said = (self.folder / "said.txt").open("ab")
        with said:
            return subprocess.Popen(started, stdout=said, stderr=said, env=environment())

    def end(self) -> None:
        """End what is left of driver and cluster."""
        if self.driver is not None and self.driver.poll() is None:
            self.driver.kill()
            self.driver.wait()
        self.driver = None
        if self.cluster is not None:
            with contextlib.suppress(Exception):
                self.cluster.shutdown()
            self.cluster = None

    def run(self, num_faults: int) -> Survived:
        """Run to the end through `num_faults` faults."""
        survived = Survived(self.case.name)
        began = time.time()
        max_starts = 2 * num_faults + 5
        while survived.num_starts < max_starts:
            self.driver = self.start_driver()
            survived.num_starts += 1
            self._break_until_it_ends(num_faults, survived, began)
            if self._ended_well():
                break
        else:
            said = (self.folder / "said.txt").read_text()[-4000:]
            raise AssertionError(f"{max_starts} starts were not enough: {said}")
        survived.seconds = time.time() - began
        computed = self.computed()
        survived.num_pairs = sum(one["pairs"] for one in computed)
        moved = sorted(self._moved.union(one["time"] for one in computed))
        for struck in survived.struck:
            later = [at for at in moved if at > began + struck.at_s]
            struck.recovered_s = min(later) - began - struck.at_s if later else None
        return survived

    def computed(self) -> list[dict[str, Any]]:
        """The calls of the engines so far."""
        return [json.loads(line) for line in self.trace.read_text().splitlines()]

    def _break_until_it_ends(self, num_faults: int, survived: Survived, began: float) -> None:
        while self._goes_on() and len(survived.struck) < num_faults:
            until = time.monotonic() + self.random.uniform(1, MAX_CALM_S)
            while time.monotonic() < until and self._goes_on():
                time.sleep(0.1)
                self._look()
            if not self._goes_on():
                return
            kind = self._next_kind()
            if kind in OF_WORKERS:
                self._wait_for_a_worker()
            at_s, stage = time.time() - began, self._look()
            if FAULTS[kind](self):
                survived.struck.append(Struck(kind, at_s, stage=stage))

    def _ended_well(self) -> bool:
        """Wait until the driver, if any is left, is done."""
        until = time.monotonic() + MAX_WAIT_S
        while self._goes_on():
            assert time.monotonic() < until, "the run hangs"
            time.sleep(0.1)
            self._look()
        return self.driver is not None and self.driver.returncode == 0

    def _wait_for_a_worker(self) -> None:
        """Most of a run's time there is none."""
        while self._goes_on() and not self.workers():
            time.sleep(0.5)
            self._look()

    def _goes_on(self) -> bool:
        return self.driver is not None and self.driver.poll() is None

    def _look(self) -> str:
        """Which stage the run is in, as its folder tells it; when it moved on is remembered."""
        told = []
        with contextlib.suppress(OSError):
            told = sorted(
                (self.out_dir / "status").glob("*.json"), key=lambda one: one.stat().st_mtime
            )
        if not told:
            return "score" if self.case.is_in_store else NOT_TOLD
        with contextlib.suppress(OSError, ValueError, UserError):
            if self.case.pause_s is None and (moved := read_json(str(told[-1]))["progressed"]):
                self._moved.add(moved)
        return told[-1].stem

    def _next_kind(self) -> str:
        """Each kind as often as the others, in random order."""
        if not self.to_come:
            self.to_come = list(self.kinds)
            self.random.shuffle(self.to_come)
        return self.to_come.pop()

    def signal_a_worker(self, number: signal.Signals) -> bool:
        """Whether there was one that could be."""
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            self.random.choice(self.workers()).send_signal(number)
            return True
        return False

    def signal_workers(self, number: signal.Signals) -> None:
        for worker in self.workers():
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.send_signal(number)

    def workers(self) -> list[psutil.Process]:
        """Processes of this cluster that hold a scorer, a part of a training or a model that is
        evaluated, oldest first."""
        assert self.cluster is not None
        found = []
        for node in self.cluster.list_all_nodes():
            for info in node.all_processes.get("raylet", []):
                with contextlib.suppress(psutil.NoSuchProcess):
                    children = psutil.Process(info.process.pid).children(recursive=True)
                    found += [one for one in children if _is_worker(one)]
        return sorted(found, key=lambda one: one.pid)


def _is_worker(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        words = " ".join(process.cmdline())
        return any(name in words for name in ("Scorer", "TrainWorker", "ReplicaActor"))
    return False
