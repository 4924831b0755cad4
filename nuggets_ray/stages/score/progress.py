"""Progress of a scoring run: the workers tell a counter, the driver reads it, shows it and writes
metrics.

A bar on a terminal, a line an interval elsewhere, and the same numbers as lines of
metrics/<attempt>.jsonl.
"""

import collections
import json
import logging
import sys
import time
from typing import Any

import ray
from tqdm import tqdm

from nuggets_ray import io
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.stages.cluster.deaths import Journal, Process

logger = logging.getLogger(__name__)


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class Counter:
    """Counts what the workers computed since it was last asked, and keeps their journal."""

    def __init__(self) -> None:
        self._journal = Journal()
        self._rows = 0
        self._anchor_tokens = 0
        self._workers: dict[int, dict[str, Any]] = {}

    def add(self, num_rows: int, num_anchor_tokens: int) -> None:
        """A worker computed `num_rows` candidates, with `num_anchor_tokens` real tokens of
        anchors.
        """
        self._rows += num_rows
        self._anchor_tokens += num_anchor_tokens

    def started(self, pid: int, facts: dict[str, Any]) -> None:
        """A worker is ready; `facts` says on which engine and why."""
        self._workers[pid] = facts

    def loading(self, process: Process) -> None:
        """See Journal."""
        self._journal.loading(process)

    def ready(self, process: Process) -> None:
        """See Journal."""
        self._journal.ready(process)

    def hold(self, block: str, process: Process) -> list[Process]:
        """See Journal."""
        return self._journal.hold(block, process)

    def release(self, block: str) -> None:
        """See Journal."""
        self._journal.release(block)

    def take(self) -> tuple[int, int, dict[int, dict[str, Any]], list[Process]]:
        """(candidates, anchor tokens) since the last call; the workers so far by process id; the
        processes lost in a row while they loaded.
        """
        lost = self._journal.lost_loading
        taken = (self._rows, self._anchor_tokens, self._workers, lost)
        self._rows = self._anchor_tokens = 0
        return taken


class Progress:
    """Shows the progress of `num_rows` candidates, of which `num_reused` were there at the
    start.
    """

    def __init__(
        self, run: Run, counter: Any, num_rows: int, num_reused: int, interval_s: float
    ) -> None:
        self._run, self.counter, self._interval_s = run, counter, interval_s
        self.num_rows, self.num_reused = num_rows, num_reused
        self.num_computed = self.num_anchor_tokens = self.num_skipped = 0
        self.counts: collections.Counter[str] = collections.Counter()
        self._started = self._said = time.monotonic()
        self._lines: list[str] = []
        self._workers: dict[int, dict[str, Any]] = {}
        self.lost_loading: list[Process] = []
        self._bar = tqdm(
            total=num_rows,
            initial=num_reused,
            unit="candidate",
            file=sys.stderr,
            disable=not sys.stderr.isatty(),
        )

    def poll(self, last: bool = False) -> None:
        """Read the counter; at most once an interval, say and record where the run is."""
        rows, tokens, workers, self.lost_loading = ray.get(self.counter.take.remote())
        self.num_computed += rows
        self.num_anchor_tokens += tokens
        self._bar.update(rows)
        for pid, facts in workers.items():
            if self._workers.get(pid) not in (None, facts):
                logger.warning("worker %d goes on with %s", pid, facts)
        self._workers = workers
        now = time.monotonic()
        if now - self._said < self._interval_s and not last:
            return
        self._said = now
        numbers = self._numbers(now - self._started)
        if self._bar.disable:
            logger.info(progress_line(numbers))
        else:
            self._bar.set_postfix_str(f"{numbers['anchor_tokens_per_s']:,.0f} anchor tokens/s")
        self._run.update(
            num_computed=self.num_computed,
            worker_pids=sorted(workers),
            engines=_engines(workers),
            **self.counts,
        )
        if not self._run.vanished.is_set():
            self._record(numbers)

    def close(self) -> None:
        """Write the last line and end the bar."""
        self.poll(last=True)
        self._bar.close()

    def _numbers(self, elapsed_s: float) -> dict[str, Any]:
        done = min(self.num_reused + self.num_computed, self.num_rows)
        rate = self.num_computed / elapsed_s
        return {
            "elapsed_s": round(elapsed_s, 1),
            "num_done": done,
            "num_rows": self.num_rows,
            "num_skipped": self.num_skipped,
            "candidates_per_s": rate,
            "anchor_tokens_per_s": self.num_anchor_tokens / elapsed_s,
            "eta_s": (self.num_rows - done) / rate if rate else None,
        }

    def _record(self, numbers: dict[str, Any]) -> None:
        self._lines.append(json.dumps(numbers))
        uri = RunFolder(self._run.out_dir).metrics(self._run.attempt_id)
        io.write_bytes(uri, ("\n".join(self._lines) + "\n").encode())


def _engines(workers: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    distinct: list[dict[str, Any]] = []
    for facts in workers.values():
        if facts not in distinct:
            distinct.append(facts)
    return distinct


def progress_line(numbers: dict[str, Any]) -> str:
    """The line that says where a run is."""
    return (
        f"{numbers['num_done']}/{numbers['num_rows']} candidates, "
        f"{numbers['candidates_per_s']:.2f} candidates/s, "
        f"{numbers['anchor_tokens_per_s']:,.0f} anchor tokens/s, {numbers['num_skipped']} skipped, "
        f"ETA {format_duration(numbers['eta_s'])}"
    )


def format_duration(seconds: float | None) -> str:
    """Seconds as h:mm:ss, or `unknown`."""
    if seconds is None:
        return "unknown"
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{left:02}"
