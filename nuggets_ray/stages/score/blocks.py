"""Run blocks of candidates through a Ray Data pool of scorers and hand their results to the driver
as they come.

A worker that dies is replaced without limit, unless three in a row die while they load the model;
a block that three died of is given up, and the caller sees it missing. The driver stays awake while
it waits: for progress, for Ctrl-C, and for an out_dir that has vanished.
"""

import errno
import json
import logging
import os
import queue
import threading
from collections.abc import Sequence
from typing import Any

import ray.data

from nuggets_ray.config.schema import Config
from nuggets_ray.errors import UserError
from nuggets_ray.run.manifest import Run
from nuggets_ray.stages.cluster.deaths import refuse_endless_loading
from nuggets_ray.stages.cluster.workers import Workers, end_executors
from nuggets_ray.stages.score.progress import Progress
from nuggets_ray.stages.score.worker import Scorer, Setup

logger = logging.getLogger(__name__)

Block = list[tuple[str, list[int]]]
"""The places of a block's rows: [(candidate part, row numbers within it)]."""

POLL_S = 0.5
JOIN_S = 5.0


def run_blocks(
    run: Run,
    setup: Setup,
    blocks: Sequence[Block],
    baseline_ref: ray.ObjectRef[Any],
    workers: Workers,
    progress: Progress,
) -> dict[str, str]:
    """Score `blocks`; returns {content_id: reason} of the candidates in them that could not be
    scored.

    Blocks that were given up are missing from scores/ and from what is returned. Raises
    FileNotFoundError when out_dir vanishes, OSError when a worker finds its disk full, UserError
    where a worker cannot have the model or none can load it, RuntimeError with a worker's traceback
    when one fails for another reason than its row.
    """
    if not blocks:
        return {}
    not_ours = threading.enumerate()
    results: queue.Queue[Any] = queue.Queue()
    dataset = _pipeline(setup, blocks, baseline_ref, workers, progress.counter)
    consumer = threading.Thread(target=_consume, args=(dataset, results), daemon=True)
    consumer.start()
    try:
        return _follow(run, setup.config, results, progress)
    finally:
        end_executors(but=not_ours)
        consumer.join(JOIN_S)


def _follow(
    run: Run, config: Config, results: queue.Queue[Any], progress: Progress
) -> dict[str, str]:
    unscored: dict[str, str] = {}
    while True:
        try:
            result = results.get(timeout=POLL_S)
        except queue.Empty:
            result = {}
        if run.vanished.is_set():
            raise FileNotFoundError(run.out_dir)
        if run.interrupted.is_set():
            raise KeyboardInterrupt
        if result is None:
            return unscored
        if isinstance(result, BaseException):
            raise result
        if "refused" in result:
            raise UserError(result["refused"])
        if "disk_full" in result:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), result["disk_full"] or None)
        if "failed" in result:
            raise RuntimeError(f"a worker failed:\n{result['failed']}")
        unscored |= dict(result.get("unscored", ()))
        progress.num_skipped += len(result.get("unscored", ()))
        progress.counts.update(result.get("counts", {}))
        progress.poll()
        refuse_endless_loading(progress.lost_loading, config.model, config.cluster)


def _pipeline(
    setup: Setup,
    blocks: Sequence[Block],
    baseline_ref: ray.ObjectRef[Any],
    workers: Workers,
    counter: Any,
) -> ray.data.Dataset:
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    # the missing blocks are found by their ids, so none may fail the run (its traceback would only
    # frighten)
    context.max_errored_blocks = -1
    # a long block, or nodes that are slow to come, are no reason to end a run
    context.execution_no_progress_timeout_s = -1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    items = [{"block": json.dumps(block)} for block in blocks]
    with ray.data.DataContext.current(context):
        return ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            Scorer,
            fn_constructor_args=(setup, [baseline_ref], counter),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(
                size=workers.num_workers, max_tasks_in_flight_per_actor=1
            ),
            max_restarts=-1,
            # the worker gives up a block for deaths; a lost node costs it nothing
            max_task_retries=-1,
            **workers.ray_options,
        )


def _consume(dataset: ray.data.Dataset, results: queue.Queue[Any]) -> None:
    """Put every block's result into the queue, then None, or the error that ended the pipeline."""
    try:
        for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0):
            for result in batch["result"]:
                results.put(json.loads(result))
        results.put(None)
    except BaseException as error:  # the driver's thread raises it
        results.put(error)
