"""Which checkpoints of a model count: finetune/<name>/checkpoints.json, one atomic write.

{settings, last: {uri, step}, best: {uri, step, eval_loss}}. A checkpoint counts once it is named
there, which happens after every worker's part has been written; a folder that is not named was left
by a kill and is removed at the next start. history.jsonl in a checkpoint holds one line a step up
to it, so that the whole curve outlives the processes.
"""

import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nuggets_ray import io
from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.universal import needs_conversion, reads_only_its_own
from nuggets_ray.run.layout import TrainingFolder

logger = logging.getLogger(__name__)

Record = dict[str, Any]
"""One line of the history: {step, loss, grad_norm, learning_rate, ...} or {step, eval_loss}."""
HISTORY = "history.jsonl"
NUM_WORKERS = "cluster.num_workers"
DEFAULTS = {f"finetune.{key}": value for key, value in asdict(FinetuneConfig()).items()}


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint after `step` optimizer steps; `eval_loss` is None without held-out rows."""

    uri: str
    step: int
    eval_loss: float | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """What checkpoints.json says. `settings`: what the run was started with."""

    settings: dict[str, Any]
    last: Saved
    best: Saved | None = None

    @property
    def num_workers(self) -> int:
        """How many workers wrote the last checkpoint."""
        return int(self.settings[NUM_WORKERS])


def read_committed(folder: str) -> Committed | None:
    """The checkpoints that count, or None where there is none yet."""
    uri = TrainingFolder(folder).committed
    if not io.exists(uri):
        return None
    record = io.read_json(uri)
    best = record["best"]
    return Committed(record["settings"], Saved(**record["last"]), best and Saved(**best))


def commit(folder: str, settings: Mapping[str, Any], saved: Saved) -> Committed:
    """Make `saved` the last checkpoint, and the best if its eval loss is; remove the one it
    replaces.
    """
    before = read_committed(folder)
    best = before.best if before else None
    lowest = best.eval_loss if best and best.eval_loss is not None else math.inf
    if saved.eval_loss is not None and saved.eval_loss < lowest:
        best = saved
    committed = Committed(dict(settings), saved, best)
    io.write_bytes(
        TrainingFolder(folder).committed, json.dumps(asdict(committed), indent=1).encode()
    )
    kept = {saved.uri, best.uri if best else None}
    for old in (before.last, before.best) if before else ():
        if old is not None and old.uri not in kept:
            io.delete(old.uri)
    return committed


def remove_leftovers(folder: str) -> None:
    """Remove the checkpoint folders that a kill left and checkpoints.json does not name."""
    committed = read_committed(folder)
    kept = {s.uri for s in (committed.last, committed.best) if s} if committed else set()
    for attempt in _folders(TrainingFolder(folder).checkpoints):
        checkpoints = _folders(attempt)
        for checkpoint in checkpoints:
            if checkpoint not in kept:
                io.delete(checkpoint)
        if not any(checkpoint in kept for checkpoint in checkpoints):
            io.delete(attempt)


def _folders(uri: str) -> list[str]:
    return [io.join(uri, name) for name in io.list_folders(uri)]


def check_settings(
    committed: Committed, settings: Mapping[str, Any], name: str, source: str
) -> None:
    """Raise UserError where a checkpoint was made with other settings than those given now;
    `source` is what the rows are of, such as "selection golden".
    """
    before = committed.settings
    changed = differences(before, settings, source)
    if not changed:
        return
    raise UserError(
        f"finetune.name={name} was begun with another {', '.join(changed.values())}: give the "
        "settings it was begun with, or another finetune.name"
    )


def differences(before: Mapping[str, Any], now: Mapping[str, Any], source: str) -> dict[str, str]:
    """{key of `now` that had another value before: the key with both, as a text}. A key of
    finetune.* that was not known when `before` was written had its default then. The number of
    workers decides no weight but by rounding and what dropout draws, and is no difference.
    """
    was = {**{key: DEFAULTS.get(key) for key in now}, **before}
    changed = {
        key: f"{key} (was {was[key]}, now {value})"
        for key, value in now.items()
        if was[key] != value and key != NUM_WORKERS
    }
    if "rows" in changed and (before.get("rows") or {}).get("sha256") != now["rows"]["sha256"]:
        changed["rows"] = f"set of rows ({source} holds others now)"
    return changed


def check_num_workers(
    committed: Committed, config: FinetuneConfig, num_workers: int, name: str
) -> None:
    """Raise UserError where only as many workers as wrote a checkpoint can read it; say what it
    takes where others can.
    """
    if committed.num_workers == num_workers:
        return
    told = (
        f"the checkpoint of finetune.name={name} at step {committed.last.step} was written by "
        f"{committed.num_workers} workers"
    )
    if why := reads_only_its_own(config):
        raise UserError(
            f"cluster.num_workers={num_workers}: {told}, and under {why} only as many can read it: "
            f"go on with cluster.num_workers={committed.num_workers}, or give another finetune.name"
        )
    takes = ""
    if needs_conversion(config, committed.num_workers, num_workers):
        takes = (
            "; each node puts its parts together in its folder for temporary files first, which "
            "takes up to six float32 copies of the trained weights for as long"
        )
    logger.warning(
        "cluster.num_workers=%d: %s: training goes on with its weights and optimizer state, the "
        "same as with as many but for rounding and what dropout draws%s",
        num_workers,
        told,
        takes,
    )


def write_history(folder: str, history: Sequence[Record]) -> None:
    """Write history.jsonl into a checkpoint's folder on this machine."""
    with open(os.path.join(folder, HISTORY), "w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in history)


def read_history(checkpoint: str) -> list[Record]:
    """The history of a checkpoint at a path or URI."""
    text = io.read_bytes(io.join(checkpoint, HISTORY)).decode("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def num_workers_by_step(history: Sequence[Record]) -> dict[int, int]:
    """{first step of those that as many workers took: how many}, as far as the history says."""
    counts: dict[int, int] = {}
    for record in history:
        num = record.get("num_workers")
        if num is not None and num != next(reversed(counts.values()), None):
            counts[record["step"]] = num
    return counts


def flush_to_disk(folder: str) -> None:
    """fsync every file below a folder: a checkpoint that counts must outlive a power cut."""
    for parent, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(os.path.join(parent, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
