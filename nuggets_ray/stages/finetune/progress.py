"""Progress of a fine-tune: rank 0 tells a board, the driver reads it, shows it and writes it down.

A bar on a terminal, a line an interval elsewhere; metrics/<attempt>.jsonl; TensorBoard's event
files and loss.png under finetune/<name>/.
"""

import errno
import json
import logging
import os
import time
from dataclasses import replace
from typing import Any

import ray

from nuggets_ray import io
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.checkpoints import Record
from nuggets_ray.finetune.curve import loss_curve
from nuggets_ray.finetune.pace import TOLD_AFTER_STEPS, Pace
from nuggets_ray.finetune.tensorboard import SHOWN, Events
from nuggets_ray.run.bar import open_bar
from nuggets_ray.run.layout import RunFolder, TrainingFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.meter import eta_text
from nuggets_ray.run.stage_status import WorkDone, WorkerCounts
from nuggets_ray.run.track import Tracker
from nuggets_ray.stages.cluster.metrics import Metrics
from nuggets_ray.units import duration_text

logger = logging.getLogger(__name__)


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class Board:
    """Holds what rank 0 has told since it was last asked."""

    def __init__(self) -> None:
        self._events: list[tuple[str, Any]] = []

    def started(self, history: list[Record]) -> None:
        """A group of workers is ready; `history` is that of the checkpoint it goes on from."""
        self._events.append(("started", history))

    def add(self, record: Record) -> None:
        """A step, or an evaluation, is done."""
        self._events.append(("record", record))

    def saved(self, step: int, seconds: float) -> None:
        """The checkpoint after this step counts; writing it took so long."""
        self._events.append(("saved", (step, seconds)))

    def refused(self, sentence: str) -> None:
        """A worker cannot have the model, and why."""
        self._events.append(("refused", sentence))

    def say(self, text: str) -> None:
        """What a worker does before it can start."""
        self._events.append(("said", text))

    def lost(self, why: str) -> None:
        """Ray Train lost workers, and why."""
        self._events.append(("lost", why))

    def disk_full(self, path: str | None) -> None:
        """A worker could not write (this file, where it is known)."""
        self._events.append(("disk_full", path))

    def take(self) -> list[tuple[str, Any]]:
        """What was told since the last call, in order."""
        taken, self._events = self._events, []
        return taken


class TrainProgress:
    """Shows a run of `num_steps` steps; `folder` is finetune/<name>/ of the run."""

    def __init__(
        self,
        run: Run,
        board: Any,
        num_steps: int,
        folder: str,
        interval_s: float,
        num_workers: int = 1,
        tracker: Tracker | None = None,
    ) -> None:
        self._run, self._board, self._num_steps = run, board, num_steps
        self._folder, self._interval_s = folder, interval_s
        self.history: list[Record] = []
        self._lines: list[str] = []
        self._began = self._said = time.monotonic()
        self._pace = Pace(num_steps)
        self._tokens = self._seconds = 0.0
        self._is_redrawn = False
        self._num_said = self._num_steps_here = self._num_reused = 0
        self._events = Events(TrainingFolder(folder).tensorboard)
        self._workers = WorkerCounts(wanted=num_workers, loading=num_workers)
        self._metrics, self._tracker = Metrics(run), tracker
        self.bar = open_bar(num_steps, 0, "steps")
        run.tell("starting the workers, which load the model", workers=self._workers)

    def poll(self, last: bool = False) -> None:
        """Read the board; at most once an interval, say and record where the run is.

        Raises OSError where a worker, or the driver itself, finds its disk full.
        """
        for kind, value in ray.get(self._board.take.remote()):
            if kind == "started":
                self._start(value)
            elif kind == "record":
                self._add(value)
            elif kind == "refused":
                raise UserError(value)
            elif kind == "said":
                self._run.tell(value)
            elif kind == "lost":
                self._lose(value)
            elif kind == "disk_full":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), value)
            else:
                step, seconds = value
                logger.info("checkpoint after step %d", step)
                self._pace.add_beside(seconds)
                self._is_redrawn = True
        if self._workers.ready:
            self._tell()
        now = time.monotonic()
        if (now - self._said < self._interval_s and not last) or not self.history:
            return
        self._said = now
        if len(self.history) != self._num_said:  # nothing new is nothing to say
            self._num_said = len(self.history)
            self._say()
        self._flush()

    def close(self) -> None:
        """Write the last line and end the bar."""
        self._is_redrawn = True
        try:
            self.poll(last=True)
        finally:
            self._events.close()
            self.bar.close()

    def _start(self, history: list[Record]) -> None:
        done = history[-1]["step"] if history else 0
        if done:
            logger.info("going on after step %d", done)
        self.history = list(history)
        self._pace.start()
        self._events.start(done, history)
        if not self._workers.lost:
            self._num_reused = done
        self.bar.n = done
        self.bar.refresh()
        was_lost = self._workers.lost > self._workers.replaced
        self._workers = replace(
            self._workers,
            loading=0,
            ready=self._workers.wanted,
            replaced=self._workers.lost if was_lost else self._workers.replaced,
        )
        self._run.tell(f"training for {self._num_steps} steps", workers=self._workers)
        self._run.update(resumed_from=[*self._run.attempt.get("resumed_from", []), done])

    def _lose(self, why: str) -> None:
        """Ray Train begins all workers anew where one is lost."""
        logger.warning("workers are lost (%s): all begin again from the last checkpoint", why)
        counts = self._workers
        self._workers = replace(counts, loading=counts.wanted, ready=0, lost=counts.lost + 1)
        self._run.tell("starting the workers again", workers=self._workers)

    def _tell(self) -> None:
        """Status and metrics, as of the last step."""
        steps = [record for record in self.history if "loss" in record]
        num_done = steps[-1]["step"] if steps else self._num_reused
        seconds = [record["seconds"] for record in steps[-50:] if "seconds" in record]
        rate_now = len(seconds) / sum(seconds) if seconds and sum(seconds) else None
        rate = self._num_steps_here / self._seconds if self._seconds else None
        work = WorkDone(
            unit="steps",
            num_done=num_done,
            num_total=self._num_steps,
            num_reused=self._num_reused,
            rate_now=rate_now,
            rate=rate,
            eta_s=self._pace.left_s(num_done),
        )
        last = steps[-1] if steps else {}
        evals = [record["eval_loss"] for record in self.history if "eval_loss" in record]
        numbers = {key: last[key] for key in SHOWN if key in last}
        if evals:
            numbers["eval_loss"] = evals[-1]
        self._run.tell(work=work, numbers=numbers)
        self._metrics.follow(work, self._workers)
        self._metrics.count(
            {"nuggets_train_steps": self._num_steps_here, "nuggets_train_tokens": self._tokens}
        )
        self._metrics.set(
            {
                "nuggets_train_loss": last.get("loss"),
                "nuggets_train_eval_loss": numbers.get("eval_loss"),
                "nuggets_learning_rate": last.get("learning_rate"),
            }
        )

    def _add(self, record: Record) -> None:
        if "loss" in record:
            record["tokens_per_s"] = record["num_tokens"] / record["seconds"]
            self._tokens += record["num_tokens"]
            self._seconds += record["seconds"]
            self._num_steps_here += 1
            self.bar.update(1)
            self._pace.add_step(record["seconds"])
            left_s = self._pace.left_s(record["step"])
            if self._pace.is_just_measured and left_s:
                self._tell_time(record["step"], left_s)
        else:
            self._pace.add_beside(record["seconds"])
        self.history.append(record)
        self._lines.append(json.dumps(record))
        self._events.add(record)
        if self._tracker is not None:
            numbers = {key: record[key] for key in SHOWN if key in record}
            self._tracker.log(numbers, record["step"])

    def _tell_time(self, step: int, left_s: float) -> None:
        logger.info(
            "%d steps to go: about %s, by the first %d; losses on held-out rows and checkpoints "
            "come on top",
            *(self._num_steps - step, duration_text(left_s), TOLD_AFTER_STEPS),
        )
        self._run.update(predicted_s=round(time.monotonic() - self._began + left_s, 1))

    def _say(self) -> None:
        steps = [record for record in self.history if "loss" in record]
        evals = [record for record in self.history if "eval_loss" in record]
        num_done = steps[-1]["step"]
        rate = self._tokens / self._seconds if self._seconds else 0.0
        eta_s = self._pace.left_s(num_done)
        held_out = f", held out {evals[-1]['eval_loss']:.4f}" if evals else ""
        line = f"loss {steps[-1]['loss']:.4f}{held_out}, lr {steps[-1]['learning_rate']:.2e}"
        if self.bar.disable:
            logger.info(
                "step %d/%d, %s, %s tokens/s, ETA %s",
                *(num_done, self._num_steps, line, f"{rate:,.0f}", eta_text(eta_s)),
            )
        else:
            eta = eta_text(eta_s)
            self.bar.set_postfix_str(f"{line}, {rate:,.0f} tokens/s, ETA {eta}")
        self._run.update(num_steps=num_done, tokens_per_s=rate)

    def _flush(self) -> None:
        if self._run.lost.is_set():
            return
        uri = RunFolder(self._run.out_dir).metrics(self._run.attempt_id)
        io.write_bytes(uri, "".join(line + "\n" for line in self._lines).encode())
        self._events.flush()
        if self._is_redrawn:
            title = os.path.basename(self._folder)
            curve = loss_curve(self.history, title)
            io.write_bytes(TrainingFolder(self._folder).loss_curve, curve)
            self._is_redrawn = False
