"""Run Ray Train from the last checkpoint to its end, watched by the driver's main thread.

The thread stays awake for progress, for Ctrl-C, and for an out_dir that is lost.
"""

from collections.abc import Iterator
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchTrainer

from nuggets_ray import io
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.checkpoints import Record, read_committed
from nuggets_ray.finetune.memory import hint
from nuggets_ray.run.layout import TrainingFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.track import Tracker
from nuggets_ray.run.watch import Producer, watch
from nuggets_ray.stages.cluster.process_group import OwnNodesTorchConfig
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.finetune.loop import LoopSetup, train_loop
from nuggets_ray.stages.finetune.progress import TrainProgress


def train(
    loop: LoopSetup, run: Run, workers: Workers, progress_s: float, tracker: Tracker
) -> list[Record]:
    """Run Ray Train to its end in a thread of its own, showing progress; the history of steps."""
    num_steps = loop.train.schedule.num_steps
    progress = TrainProgress(
        run, loop.board, num_steps, loop.folder, progress_s, workers.num_workers, tracker
    )
    producer = Producer(_fit(_trainer(loop, workers), loop), name="train")
    producer.start()
    try:
        [result] = watch(run, producer.wait, progress.poll)
    finally:
        progress.close()
    if "diverged" in result:
        raise _diverged(loop, result)
    return progress.history


def _trainer(loop: LoopSetup, workers: Workers) -> TorchTrainer:
    store, path = io.open_fs(TrainingFolder(loop.folder).checkpoints)
    resources: dict[str, float] = {"CPU": workers.cpus_per_worker}
    if workers.gpus_per_worker:
        resources["GPU"] = workers.gpus_per_worker
    return TorchTrainer(
        train_loop,  # type: ignore[arg-type]  # it returns something, as it may
        train_loop_config={"setup": loop},
        torch_config=OwnNodesTorchConfig(backend="nccl" if workers.device == "cuda" else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers.num_workers,
            use_gpu=workers.device == "cuda",
            resources_per_worker=resources,
        ),
        run_config=RunConfig(
            name=loop.attempt_id,
            storage_path=path,
            storage_filesystem=store,
            failure_config=FailureConfig(max_failures=loop.train.finetune.max_failures),
            callbacks=[TellLosses(loop.board)],  # type: ignore[list-item]  # of Ray Train's two
        ),
    )


class TellLosses(UserCallback):
    """Tells the board which workers Ray Train has lost, and why."""

    def __init__(self, board: Any) -> None:
        self._board = board

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Called by Ray Train's controller, in a process of its own."""
        ranks = ", ".join(f"rank {rank}" for rank in sorted(worker_exceptions))
        first = next(iter(worker_exceptions.values()))
        lines = [line for line in str(first).splitlines() if line.strip()]
        why = lines[-1].strip() if lines else type(first).__name__
        self._board.lost.remote(f"{ranks}: {why[:300]}")


def _fit(trainer: TorchTrainer, loop: LoopSetup) -> Iterator[dict[str, Any]]:
    """Train to the end; what train_loop returned."""
    try:
        result = trainer.fit()
    except BaseException as error:
        cause = _cause(error, loop)
        if cause is error:
            raise
        raise cause from error
    yield result.return_value  # type: ignore[attr-defined]


def _cause(error: BaseException, loop: LoopSetup) -> BaseException:
    """What the user can mend out of Ray's error, else that."""
    failures = [error, getattr(error, "controller_failure", None)]
    failures += getattr(error, "worker_failures", {}).values()
    for failure in failures:
        if isinstance(failure, UserError):
            return failure
        if isinstance(failure, ray.exceptions.OutOfMemoryError):
            way_out = hint(loop.train.finetune, loop.train.device, rows_are_the_trouble=True)
            return UserError(
                "finetune: the memory of a node ran out (what is finished is kept): "
                f"{way_out}, or let nothing else run there"
            )
    return error


def _diverged(loop: LoopSetup, result: dict[str, Any]) -> UserError:
    committed = read_committed(loop.folder)
    kept = (
        f"the last good checkpoint, after step {committed.last.step}, is kept"
        if committed
        else "there was no checkpoint before it"
    )
    return UserError(
        f"finetune.learning_rate={loop.train.finetune.learning_rate}: the loss of step "
        f"{result['diverged']} is {result['loss']} (norm of the gradient {result['grad_norm']}), "
        f"so training stopped; {kept}: lower the rate, set finetune.clip_norm, or look at the rows "
        "of that step, under another finetune.name"
    )
