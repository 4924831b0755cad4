"""Progress of a scoring run: the workers tell a counter, the driver reads it, shows it and writes
it down.

A bar on a terminal, a line an interval elsewhere; the same numbers as lines of
metrics/<attempt>.jsonl, in status/score.json, and as Ray's metrics.
"""

import collections
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ray

from nuggets_ray import io
from nuggets_ray.run.bar import open_bar
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.meter import Meter, eta_text
from nuggets_ray.run.stage_status import WorkDone
from nuggets_ray.run.status_text import format_rate
from nuggets_ray.stages.cluster.deaths import Journal, LifeEvent, Process
from nuggets_ray.stages.cluster.metrics import Metrics
from nuggets_ray.stages.cluster.roster import LOOK_S, Roster
from nuggets_ray.units import duration_text

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """What workers told since the last call, but for `workers` {process id: its engine} and
    `lost_loading`, which are as of now (see Journal).
    """

    num_rows: int = 0
    num_anchor_tokens: int = 0
    num_wins: int = 0
    num_retries: int = 0
    events: tuple[LifeEvent, ...] = ()
    workers: Mapping[int, dict[str, Any]] = field(default_factory=dict)
    lost_loading: tuple[Process, ...] = ()


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class Counter:
    """Counts what the workers computed since it was last asked, and keeps their journal."""

    def __init__(self) -> None:
        self._journal = Journal()
        self._rows = self._anchor_tokens = self._wins = 0
        self._workers: dict[int, dict[str, Any]] = {}

    def add(self, num_rows: int, num_anchor_tokens: int, num_wins: int = 0) -> None:
        """A worker computed `num_rows` candidates, with `num_anchor_tokens` real tokens of
        anchors, of which `num_wins` pairs are wins.
        """
        self._rows += num_rows
        self._anchor_tokens += num_anchor_tokens
        self._wins += num_wins

    def started(self, pid: int, facts: dict[str, Any]) -> None:
        """A worker is ready; `facts` says on which engine and why."""
        self._workers[pid] = facts

    def loading(self, process: Process) -> None:
        """See Journal."""
        self._journal.loading(process)

    def ready(self, process: Process, load_s: float) -> None:
        """See Journal."""
        self._journal.ready(process, load_s)

    def hangs(self, process: Process, seconds: float) -> None:
        """See Journal."""
        self._journal.hangs(process, seconds)

    def hold(self, block: str, process: Process) -> list[Process]:
        """See Journal."""
        return self._journal.hold(block, process)

    def release(self, block: str) -> None:
        """See Journal."""
        self._journal.release(block)

    def take(self) -> Told:
        """What was told."""
        events, num_retries = self._journal.take_events()
        told = Told(
            num_rows=self._rows,
            num_anchor_tokens=self._anchor_tokens,
            num_wins=self._wins,
            num_retries=num_retries,
            events=tuple(events),
            workers=dict(self._workers),
            lost_loading=tuple(self._journal.lost_loading),
        )
        self._rows = self._anchor_tokens = self._wins = 0
        return told


class Progress:
    """Shows the progress of `num_rows` candidates, of which `num_reused` were there at the
    start.
    """

    def __init__(
        self,
        run: Run,
        counter: Any,
        num_rows: int,
        num_reused: int,
        interval_s: float,
        num_workers: int = 1,
        most_workers: int = 1,
    ) -> None:
        self._run, self.counter, self._interval_s = run, counter, interval_s
        self.num_rows, self.num_reused = num_rows, num_reused
        self.num_anchor_tokens = self.num_skipped = 0
        self._num_wins = self._num_retries = self._num_out_of_memory = 0
        self.counts: collections.Counter[str] = collections.Counter()
        self._began = self._said = time.monotonic()
        self._looked = 0.0
        self._later_s: float | None = None
        self._lines: list[str] = []
        self._workers: Mapping[int, dict[str, Any]] = {}
        self.lost_loading: tuple[Process, ...] = ()
        self._meter = Meter("candidates", num_rows, num_reused)
        self._roster = Roster(num_workers, most=most_workers)
        self._metrics = Metrics(run)
        self._bar = open_bar(num_rows, num_reused, "candidates")

    @property
    def num_computed(self) -> int:
        """Candidates computed in this attempt, those that came twice twice."""
        return self._meter.num_computed

    def expect(self, num_rows: int, later_s: float | None) -> None:
        """A round of a race asks `num_rows` rows; what was done before counts too. `later_s` are
        the seconds expected of the rounds after it."""
        self._later_s = later_s
        self.num_rows = self._meter.num_total = (
            self._meter.num_reused + self.num_computed + num_rows
        )
        self._bar.total = self.num_rows
        self._bar.refresh()

    def begin_pool(self) -> None:
        """A new pool of workers starts."""
        self._roster.begin()

    def poll(self, last: bool = False) -> None:
        """Read the counter; at most once an interval, say and record where the run is."""
        self._read(ray.get(self.counter.take.remote()))
        now = time.monotonic()
        if now - self._looked > LOOK_S or last:
            self._looked = now
            self._roster.look()
        numbers = self._numbers(now - self._began)
        self._tell(numbers)
        if now - self._said < self._interval_s and not last:
            return
        self._said = now
        if self._bar.disable:
            if self._meter.computing_s or last:  # until then the workers' own lines tell
                logger.info(progress_line(numbers))
        else:
            self._bar.set_postfix_str(short_line(numbers))
        self._run.update(
            num_computed=self.num_computed,
            worker_pids=sorted(self._workers),
            engines=_engines(self._workers),
            **self.counts,
        )
        if not self._run.lost.is_set():
            self._record(numbers)

    def close(self) -> None:
        """Write the last line and end the bar."""
        self.poll(last=True)
        self._bar.close()

    def _read(self, told: Told) -> None:
        self.lost_loading = told.lost_loading
        self._roster.follow(told.events)
        if told.num_rows and not self.num_computed:
            waited = duration_text(time.monotonic() - self._began)
            logger.info("the first candidates are scored, %s after the workers were asked", waited)
        self._meter.count(told.num_rows, is_computing=self._roster.counts.ready > 0)
        self.num_anchor_tokens += told.num_anchor_tokens
        self._num_wins += told.num_wins
        if told.num_retries:
            self._num_retries += told.num_retries
            logger.warning("%d blocks are tried again: their worker was lost", told.num_retries)
        self._bar.update(min(told.num_rows, self.num_rows - self._bar.n))
        for pid, facts in told.workers.items():
            before = self._workers.get(pid)
            if before not in (None, facts):
                self._num_out_of_memory += 1
                logger.warning("memory ran out: worker process %d goes on with %s", pid, facts)
        self._workers = told.workers

    def _numbers(self, elapsed_s: float) -> dict[str, Any]:
        work = self._meter.work()
        rate = work.rate or 0.0
        tokens_a_row = self.num_anchor_tokens / self.num_computed if self.num_computed else 0.0
        whole_s = None
        if self._later_s is not None and work.eta_s is not None:
            whole_s = work.eta_s + self._later_s
        return {
            "elapsed_s": round(elapsed_s, 1),
            "computing_s": round(self._meter.computing_s, 1),
            "num_done": work.num_done,
            "num_rows": self.num_rows,
            "num_skipped": self.num_skipped,
            "candidates_per_s": rate,
            "candidates_per_s_now": work.rate_now or 0.0,
            "anchor_tokens_per_s": rate * tokens_a_row,
            "eta_s": work.eta_s,
            "race_eta_s": whole_s,
        }

    def _tell(self, numbers: Mapping[str, Any]) -> None:
        work: WorkDone = self._meter.work()
        own: dict[str, float | str] = {
            "anchor_tokens_per_s": round(numbers["anchor_tokens_per_s"]),
            "skipped": self.num_skipped,
        }
        if numbers["race_eta_s"] is not None:
            own["ETA_of_the_race"] = f"about {duration_text(numbers['race_eta_s'])}"
        if self._num_retries:
            own["blocks_tried_again"] = self._num_retries
        self._run.tell(work=work, workers=self._roster.counts, numbers=own)
        self._metrics.follow(work, self._roster.counts)
        self._metrics.count(
            {
                "nuggets_candidates": self.num_computed,
                "nuggets_anchor_tokens": self.num_anchor_tokens,
                "nuggets_wins": self._num_wins,
                "nuggets_skipped_rows": self.num_skipped,
                "nuggets_block_retries": self._num_retries,
                "nuggets_out_of_memory": self._num_out_of_memory + self._roster.num_out_of_memory,
            }
        )

    def _record(self, numbers: dict[str, Any]) -> None:
        self._lines.append(json.dumps(numbers))
        uri = RunFolder(self._run.out_dir).metrics(self._run.attempt_id)
        io.write_bytes(uri, ("\n".join(self._lines) + "\n").encode())


def _engines(workers: Mapping[int, dict[str, Any]]) -> list[dict[str, Any]]:
    distinct: list[dict[str, Any]] = []
    for facts in workers.values():
        if facts not in distinct:
            distinct.append(facts)
    return distinct


def progress_line(numbers: Mapping[str, Any]) -> str:
    """The line that says where a run is."""
    return f"{numbers['num_done']}/{numbers['num_rows']} candidates, {short_line(numbers)}"


def short_line(numbers: Mapping[str, Any]) -> str:
    """The same without the counts, which the bar shows."""
    now, over_all = (numbers[f"candidates_per_s{end}"] for end in ("_now", ""))
    race_s = numbers.get("race_eta_s")
    of_race = "" if race_s is None else f", of the whole race about {duration_text(race_s)}"
    return (
        f"{format_rate(now, 'candidates')} now, {format_rate(over_all, 'candidates')} over all, "
        f"{numbers['anchor_tokens_per_s']:,.0f} anchor tokens/s, {numbers['num_skipped']} skipped, "
        f"ETA {eta_text(numbers['eta_s'])}{of_race}"
    )
