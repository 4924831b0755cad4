"""Progress of a fine-tune: rank 0 tells a board, the driver reads it, shows it and writes it down.

A bar on a terminal, a line an interval elsewhere; metrics/<attempt>.jsonl; TensorBoard's event
files and loss.png under finetune/<name>/.
"""

import errno
import json
import logging
import os
import sys
import tempfile
import time
from typing import Any

import ray
from tqdm import tqdm

from nuggets_ray import io
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.checkpoints import Record
from nuggets_ray.finetune.curve import loss_curve
from nuggets_ray.finetune.pace import TOLD_AFTER_STEPS, Pace
from nuggets_ray.run.layout import RunFolder, TrainingFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.stages.score.progress import format_duration

logger = logging.getLogger(__name__)

SHOWN = ("loss", "eval_loss", "learning_rate", "grad_norm", "tokens_per_s")


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
        self, run: Run, board: Any, num_steps: int, folder: str, interval_s: float
    ) -> None:
        self._run, self._board, self._num_steps = run, board, num_steps
        self._folder, self._interval_s = folder, interval_s
        self.history: list[Record] = []
        self._lines: list[str] = []
        self._began = self._said = time.monotonic()
        self._pace = Pace(num_steps)
        self._tokens = self._seconds = 0.0
        self._is_redrawn = False
        self._num_said = 0
        self._events = Events(TrainingFolder(folder).tensorboard)
        self.bar = tqdm(
            total=num_steps, unit="step", file=sys.stderr, disable=not sys.stderr.isatty()
        )

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
                logger.info("%s", value)
            elif kind == "disk_full":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), value)
            else:
                step, seconds = value
                logger.info("checkpoint after step %d", step)
                self._pace.add_beside(seconds)
                self._is_redrawn = True
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
        self.bar.n = self.bar.initial = self.bar.last_print_n = done
        self.bar.unpause()  # its estimate counts from here: not the start, nor compiling
        self.bar.refresh()
        self._run.update(resumed_from=[*self._run.attempt.get("resumed_from", []), done])

    def _add(self, record: Record) -> None:
        if "loss" in record:
            record["tokens_per_s"] = record["num_tokens"] / record["seconds"]
            self._tokens += record["num_tokens"]
            self._seconds += record["seconds"]
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

    def _tell_time(self, step: int, left_s: float) -> None:
        logger.info(
            "%d steps to go: about %s, by the first %d; losses on held-out rows and checkpoints "
            "come on top",
            *(self._num_steps - step, format_duration(left_s), TOLD_AFTER_STEPS),
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
                *(num_done, self._num_steps, line, f"{rate:,.0f}", format_duration(eta_s)),
            )
        else:
            self.bar.set_postfix_str(f"{line}, {rate:,.0f} tokens/s")
        self._run.update(num_steps=num_done, tokens_per_s=rate)

    def _flush(self) -> None:
        if self._run.vanished.is_set():
            return
        uri = RunFolder(self._run.out_dir).metrics(self._run.attempt_id)
        io.write_bytes(uri, "".join(line + "\n" for line in self._lines).encode())
        self._events.flush()
        if self._is_redrawn:
            title = os.path.basename(self._folder)
            curve = loss_curve(self.history, title)
            io.write_bytes(TrainingFolder(self._folder).loss_curve, curve)
            self._is_redrawn = False


class Events:
    """TensorBoard's event files at a path or URI; those of a store go there at each flush."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._temporary = tempfile.TemporaryDirectory() if io.is_remote(uri) else None
        self._folder = self._temporary.name if self._temporary else io.open_fs(uri)[1]
        self._writer: Any = None

    def start(self, step: int, history: list[Record]) -> None:
        """Begin a file that replaces what earlier ones say of the steps after `step`."""
        # SummaryWriter writes from a thread: when the disk is full that dies, and its queue blocks
        # the driver for ever
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self.close()
        os.makedirs(self._folder, exist_ok=True)
        self._writer = EventsWriter(os.path.join(self._folder, "events"))
        if step:
            log = SessionLog(status=SessionLog.START)
            self._writer.write_event(Event(wall_time=time.time(), step=step + 1, session_log=log))
        if self._temporary:
            for record in history:
                self.add(record)

    def add(self, record: Record) -> None:
        """The numbers of one record as scalars."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        for key in SHOWN:
            if key in record and self._writer is not None:
                event = Event(
                    wall_time=time.time(), step=record["step"], summary=scalar(key, record[key])
                )
                self._writer.write_event(event)

    def flush(self) -> None:
        """Write what is there."""
        if self._writer is None:
            return
        self._writer.flush()
        if self._temporary:
            for name in os.listdir(self._folder):
                with open(os.path.join(self._folder, name), "rb") as file:
                    io.write_bytes(io.join(self._uri, name), file.read())

    def close(self) -> None:
        """End the file."""
        if self._writer is not None:
            self.flush()
            self._writer.close()
            self._writer = None
