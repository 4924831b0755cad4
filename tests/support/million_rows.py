"""The whole pipeline but the models: a million rows through a stand-in for the engine.

    python tests/support/million_rows.py run FOLDER --rows 10000 100000 1000000 --schedule full race
    python tests/support/million_rows.py scale FOLDER --actors 1 4 16

`run` scores made-up rows on a Ray of this machine (stand_in.py computes what a model would), kills
the driver in the middle and goes on, selects, and makes the studies and the report; it prints a
table of seconds, CPU seconds and the driver's peak memory, and whether driver and stand-ins grew
while they scored. `scale` has the stand-ins sleep as long
as a model would take, and prints which part of the time all of them worked.
"""

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from make_million import make
from ray.cluster_utils import Cluster
from score_runs import ROOT, environment
from stand_in import __file__ as STAND_IN

from nuggets_ray.demo.model import demo_folder
from nuggets_ray.markdown import markdown_table

NUM_ANCHORS = 1000
OBJECT_STORE = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Took:
    """What a command took: wall seconds, its process's CPU seconds and peak resident GiB."""

    name: str
    seconds: float
    cpu_s: float
    peak_gib: float


class Watched:
    """A command that runs, and what its own process has taken so far."""

    def __init__(self, name: str, command: list[str], folder: Path) -> None:
        self.name, self._began = name, time.monotonic()
        self._cpu_s = self._peak_gib = 0.0
        said = folder / f"{name.replace(' ', '_')}.txt"
        with said.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, env=environment())
        self.said = said

    def poll(self) -> bool:
        """Look at the process; whether it still runs."""
        if self.process.poll() is not None:
            return False
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            times = psutil.Process(self.process.pid).cpu_times()
        except (OSError, psutil.NoSuchProcess):
            return True
        peak = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
        self._peak_gib = max([self._peak_gib, *(int(kib) / 2**20 for kib in peak)])
        self._cpu_s = times.user + times.system
        return True

    def wait(self) -> Took:
        """Wait for its end, which must be a good one."""
        while self.poll():
            time.sleep(0.2)
        assert self.process.returncode == 0, self.said.read_text()[-2000:]
        return self.took()

    def took(self) -> Took:
        """What it has taken so far."""
        return Took(self.name, time.monotonic() - self._began, self._cpu_s, self._peak_gib)


class Growth:
    """Resident memory and open files of processes, looked at again and again."""

    EVERY_S = 10.0

    def __init__(self) -> None:
        self._seen: dict[int, list[tuple[float, int]]] = defaultdict(list)
        self._next = 0.0

    def look(self, pids: Iterable[int]) -> None:
        """At most every few seconds."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self.EVERY_S
        for pid in pids:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                looked = process.memory_info().rss / 2**20, process.num_fds()
                self._seen[pid].append(looked)

    def told(self, pid: int, name: str) -> str:
        """From the first to the last third, medians; "" where it was hardly looked at."""
        seen = np.array(self._seen.get(pid, []))
        if len(seen) < 9:
            return ""
        third = len(seen) // 3
        (mib, files), (mib_then, files_then) = (
            np.median(part, axis=0) for part in (seen[:third], seen[-third:])
        )
        minutes = len(seen) * self.EVERY_S / 60
        return (
            f"{name}, {minutes:.0f} min: {mib:.0f} to {mib_then:.0f} MiB, "
            f"{files:.0f} to {files_then:.0f} open files"
        )


class Trace:
    """What the stand-ins have written so far: rows, and the processes that did."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open("rb")
        self.num_rows = 0
        self.pids: set[int] = set()

    def read(self) -> None:
        """What has come since the last time."""
        where = self._file.tell()
        lines = self._file.read().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        self._file.seek(where + sum(map(len, lines)))
        for line in lines:
            call = json.loads(line)
            self.num_rows += call["rows"]
            self.pids.add(call["pid"])


def run(
    folder: Path, num_rows: int, num_anchors: int, schedule: str, workers: int
) -> tuple[list[Took], list[str]]:
    """The pipeline on `num_rows` made-up rows, killed once while it scores: what it took, and what
    grew."""
    there = folder / f"{schedule}-{num_rows}"
    shutil.rmtree(there, ignore_errors=True)
    there.mkdir(parents=True)
    if not (folder / f"rows-{num_rows}").exists():
        make(folder / f"rows-{num_rows}", num_rows)
    rows, out_dir = folder / f"rows-{num_rows}" / "rows.parquet", there / "run"
    trace, told = there / "trace.jsonl", Trace(there / "trace.jsonl")
    more = ["race.top_fraction=0.01"] if schedule == "race" else []
    overrides = [f"anchors.num={num_anchors}", f"schedule={schedule}", *more]
    cluster = _cluster(workers)
    try:
        command = _score(cluster, rows, out_dir, trace, 0.0, workers, overrides)
        first = Watched("score, killed", command, there)
        while first.poll() and told.num_rows < num_rows / 3:
            time.sleep(0.2)
            told.read()
        assert first.process.poll() is None, first.said.read_text()[-2000:]
        first.process.kill()
        first.process.wait()
        took = [first.took()]
        before, began = set(told.pids), time.monotonic()
        second = Watched("score, resumed", command, there)
        while second.poll() and told.pids == before:
            time.sleep(0.2)
            told.read()
        took.append(Took("of that until a row is computed", time.monotonic() - began, 0, 0))
        growth = Growth()
        while second.poll():
            growth.look([second.process.pid, *told.pids - before])
            time.sleep(0.2)
            told.read()
        took.append(second.wait())
        grew = [growth.told(second.process.pid, "driver")]
        grew += [growth.told(pid, "stand-in") for pid in sorted(told.pids - before)]
    finally:
        cluster.shutdown()
    for name, job, arguments in (
        ("select", "select_topk", ["select.fraction=0.01"]),
        ("study anchor_robustness", "study", ["study=anchor_robustness"]),
        ("study scalability", "study", ["study=scalability"]),
        ("report", "report", []),
    ):
        job_command = [sys.executable, str(ROOT / "jobs" / f"{job}.py"), f"out_dir={out_dir}"]
        took.append(Watched(name, [*job_command, *arguments], there).wait())
    return took, [one for one in grew if one]


def scale(
    folder: Path, actors: int, rows_each: int, block_rows: int, pause_s: float
) -> tuple[float, float]:
    """(seconds from all ready to the last row, those that one alone would need for its rows)."""
    num_rows, there = rows_each * actors, folder / f"scale-{actors}"
    shutil.rmtree(there, ignore_errors=True)
    there.mkdir(parents=True)
    make(there / "rows", num_rows)
    trace = there / "trace.jsonl"
    trace.touch()
    cluster = _cluster(actors)
    try:
        overrides = ["anchors.num=8", f"score.block_rows={block_rows}"]
        rows = there / "rows" / "rows.parquet"
        command = _score(cluster, rows, there / "run", trace, pause_s, actors, overrides)
        Watched("score", command, there).wait()
    finally:
        cluster.shutdown()
    calls = [json.loads(line) for line in trace.read_text().splitlines()]
    starts: dict[int, float] = {}
    for call in calls:
        starts.setdefault(call["pid"], call["time"] - call["rows"] * pause_s)
    ready = max(starts.values())
    after = [call for call in calls if call["time"] > ready]
    # what a call did before all were ready is not counted
    done_s = sum(min(call["rows"] * pause_s, call["time"] - ready) for call in after)
    return max(call["time"] for call in after) - ready, done_s / actors


def _cluster(num_cpus: int) -> Cluster:
    node = {"num_cpus": num_cpus + 1, "object_store_memory": OBJECT_STORE}
    return Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})


def _score(
    cluster: Any,
    rows: Path,
    out_dir: Path,
    trace: Path,
    pause_s: float,
    workers: int,
    more: list[str],
) -> list[str]:
    given = {"trace": str(trace), "pause_s": pause_s, "address": cluster.address}
    overrides = [
        f"data.path={rows}",
        f"model.path={demo_folder()}",
        f"out_dir={out_dir}",
        "score.dtype=float32",
        f"cluster.address={cluster.address}",
        f"cluster.num_workers={workers}",
        *more,
    ]
    return [sys.executable, STAND_IN, "score", json.dumps(given), *overrides]


def _table(took: list[Took], num_rows: int) -> str:
    rows = [
        [
            one.name,
            f"{one.seconds:.1f}",
            f"{1000 * one.seconds / num_rows:.3f}",
            f"{one.cpu_s:.1f}" if one.cpu_s else "",
            f"{one.peak_gib:.2f}" if one.peak_gib else "",
        ]
        for one in took
    ]
    heads = ["step", "s", "ms a row", "CPU s of its process", "its peak GiB"]
    return markdown_table(heads, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("folder", type=Path)
    running.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    running.add_argument("--anchors", type=int, default=NUM_ANCHORS)
    running.add_argument("--schedule", nargs="+", choices=["full", "race"], default=["full"])
    running.add_argument("--workers", type=int, default=1)
    scaling = commands.add_parser("scale")
    scaling.add_argument("folder", type=Path)
    scaling.add_argument("--actors", type=int, nargs="+", default=[1, 4, 16, 64])
    scaling.add_argument("--rows-each", type=int, default=1200)
    scaling.add_argument("--block-rows", type=int, default=40)
    scaling.add_argument("--pause-s", type=float, default=0.25)
    given = parser.parse_args()
    if given.command == "run":
        for schedule in given.schedule:
            for num in given.rows:
                took, grew = run(given.folder, num, given.anchors, schedule, given.workers)
                told = f"schedule={schedule}, {num:,} rows x {given.anchors:,} anchors"
                print("\n".join([told, "", _table(took, num), "", *grew, ""]), flush=True)
        return
    for actors in given.actors:
        shape = (actors, given.rows_each, given.block_rows, given.pause_s)
        took_s, needed_s = scale(given.folder, *shape)
        told = f"{actors} actors: {took_s:.1f} s from all ready to the last row"
        print(f"{told}, {needed_s:.1f} s of work each: {needed_s / took_s:.1%}", flush=True)


if __name__ == "__main__":
    main()
