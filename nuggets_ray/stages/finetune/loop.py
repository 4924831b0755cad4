"""What each Ray Train worker runs: steps, eval and checkpoints, from the last checkpoint on.

The commit protocol: every worker writes its part, all meet, rank 0 names the checkpoint in
checkpoints.json. A worker that starts, in the first attempt or after a kill, goes on from what is
named there; so does a new driver.
"""

import os
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import Any

import ray
import ray.train
import torch
import torch.distributed as dist
from ray.train import Checkpoint, CheckpointUploadMode

from nuggets_ray import io
from nuggets_ray.disk_full import is_disk_full
from nuggets_ray.errors import UserError
from nuggets_ray.finetune import engine as engine_module
from nuggets_ray.finetune.checkpoints import (
    Committed,
    Record,
    Saved,
    commit,
    flush_to_disk,
    read_committed,
    read_history,
    write_history,
)
from nuggets_ray.finetune.deepspeed_kernels import build_one_at_a_time
from nuggets_ray.finetune.engine import TrainSetup
from nuggets_ray.finetune.rows import TrainRows
from nuggets_ray.run.layout import TrainingFolder


@dataclass(frozen=True, slots=True)
class LoopSetup:
    """What the loop needs: how to train, where checkpoints go, and whom to tell.

    `row_refs` holds the object references of the training and the held-out rows.
    """

    train: TrainSetup
    settings: dict[str, Any]
    folder: str
    attempt_id: str
    row_refs: tuple[ray.ObjectRef[Any], ray.ObjectRef[Any]]
    board: Any
    num_threads: int


def train_loop(config: dict[str, LoopSetup]) -> dict[str, Any]:
    """Train to the end; returns {step} or {diverged: step, loss, grad_norm}."""
    setup = config["setup"]
    try:
        return _train(setup)
    except Exception as error:
        if is_disk_full(error):  # else Ray Train would start again, to fail at the same place
            ray.get(setup.board.disk_full.remote(getattr(error, "filename", None)))
        raise


def _train(setup: LoopSetup) -> dict[str, Any]:
    os.environ["DS_ACCELERATOR"] = setup.train.device
    build_one_at_a_time(lambda text: setup.board.say.remote(text))
    torch.set_num_threads(setup.num_threads)
    rows, held_out = (ray.get(ref) for ref in setup.row_refs)
    committed = read_committed(setup.folder)
    try:
        engine = engine_module.make_engine(
            setup.train, committed.num_workers if committed else None
        )
    except UserError as error:  # else Ray Train would start again, to fail at the same place
        ray.get(setup.board.refused.remote(str(error)))
        raise
    history = _resume(engine, setup, committed)
    step = committed.last.step if committed else 0
    if dist.get_rank() == 0:
        ray.get(setup.board.started.remote(history))
    every, saved_at = setup.train.finetune.eval_steps, time.monotonic()
    while step < setup.train.schedule.num_steps:
        started = time.monotonic()
        result = engine_module.train_step(engine, setup.train, rows, step)
        step += 1
        record = {
            "step": step,
            **asdict(result),
            "num_workers": dist.get_world_size(),
            "seconds": time.monotonic() - started,
        }
        if not result.is_finite:
            return {"diverged": step, "loss": result.loss, "grad_norm": result.grad_norm}
        _tell(setup, history, record)
        is_saved = _is_due(engine, setup, step, time.monotonic() - saved_at)
        is_evaluated = is_saved or (every is not None and step % every == 0)
        eval_loss = None
        if is_evaluated and held_out.num_rows:
            eval_loss = _evaluate(engine, setup, step, history, held_out)
        if is_saved:
            _save(engine, setup, step, history, eval_loss)
            saved_at = time.monotonic()
    return {"step": step}


def _resume(engine: Any, setup: LoopSetup, committed: Committed | None) -> list[Record]:
    """Load the last checkpoint, if there is one; the history up to it."""
    if committed is None:
        return []
    store, path = io.open_fs(committed.last.uri)
    with Checkpoint(path, filesystem=store).as_directory() as folder:
        engine_module.load(engine, setup.train, folder)
        return read_history(folder)


def _tell(setup: LoopSetup, history: list[Record], record: Record) -> None:
    if dist.get_rank() == 0:
        history.append(record)
        setup.board.add.remote(record)


def _is_due(engine: Any, setup: LoopSetup, step: int, since_s: float) -> bool:
    """Whether to save now: all workers agree, on the clock of the first."""
    config = setup.train.finetune
    if step == setup.train.schedule.num_steps:
        return True
    if config.checkpoint_steps is not None and step % config.checkpoint_steps == 0:
        return True
    if config.checkpoint_minutes is None:
        return False
    late = torch.tensor(float(since_s > 60 * config.checkpoint_minutes), device=engine.device)
    dist.broadcast(late, 0)
    return bool(late)


def _evaluate(
    engine: Any, setup: LoopSetup, step: int, history: list[Record], held_out: TrainRows
) -> float:
    started = time.monotonic()
    loss = engine_module.evaluate(engine, setup.train, held_out)
    seconds = time.monotonic() - started
    _tell(setup, history, {"step": step, "eval_loss": loss, "seconds": seconds})
    return loss


def _save(
    engine: Any, setup: LoopSetup, step: int, history: list[Record], eval_loss: float | None
) -> None:
    started = time.monotonic()
    name = f"step-{step:08d}"
    uri = TrainingFolder(setup.folder).checkpoint(setup.attempt_id, name)
    metrics = {"step": step, "eval_loss": eval_loss}
    if io.is_remote(uri):
        folder = tempfile.mkdtemp(prefix="nuggets_checkpoint_")
        _write(engine, setup, folder, history)
        ray.train.report(
            metrics,
            Checkpoint.from_directory(folder),
            checkpoint_dir_name=name,
            delete_local_checkpoint_after_upload=True,
        )
    else:
        _, folder = io.open_fs(uri)
        if dist.get_rank() == 0:
            io.delete(folder)  # what a killed worker left of the same step
            os.makedirs(folder)
        dist.barrier()
        _write(engine, setup, folder, history)
        # written where it stays: a copy would cost its size in disk and time again
        ray.train.report(
            metrics, Checkpoint(folder), checkpoint_upload_mode=CheckpointUploadMode.NO_UPLOAD
        )
    dist.barrier()
    if dist.get_rank() == 0:
        commit(setup.folder, setup.settings, Saved(uri, step, eval_loss))
        seconds = time.monotonic() - started
        ray.get(setup.board.saved.remote(step, seconds))  # what was told before has arrived, too
    dist.barrier()


def _write(engine: Any, setup: LoopSetup, folder: str, history: list[Record]) -> None:
    engine_module.save(engine, setup.train, folder)
    if dist.get_rank() == 0:
        write_history(folder, history)
    dist.barrier()
    flush_to_disk(folder)
