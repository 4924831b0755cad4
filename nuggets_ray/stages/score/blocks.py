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
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import ray.data

from nuggets_ray.config.schema import Config
from nuggets_ray.errors import UserError
from nuggets_ray.run.candidates import Places
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.watch import Producer, watch
from nuggets_ray.stages.cluster.deaths import refuse_endless_loading
from nuggets_ray.stages.cluster.workers import Workers, end_executors
from nuggets_ray.stages.score.progress import Progress
from nuggets_ray.stages.score.worker import Scorer, Setup

logger = logging.getLogger(__name__)

JOIN_S = 5.0


def run_blocks(
    run: Run,
    setup: Setup,
    blocks: Sequence[Places],
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
    progress.begin_pool()
    dataset = _pipeline(setup, blocks, baseline_ref, workers, progress.counter)
    producer = Producer(_results(dataset), name="blocks")
    producer.start()
    try:
        return _collect(run, setup.config, producer, progress)
    finally:
        end_executors(but=not_ours)
        producer.join(JOIN_S)


def _collect(
    run: Run, config: Config, producer: Producer[dict[str, Any]], progress: Progress
) -> dict[str, str]:
    def tick() -> None:
        progress.poll()
        refuse_endless_loading(progress.lost_loading, config.model, config.cluster)

    unscored: dict[str, str] = {}
    for result in watch(run, producer.wait, tick):
        if "refused" in result:
            raise UserError(result["refused"])
        if "disk_full" in result:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), result["disk_full"] or None)
        if "failed" in result:
            raise RuntimeError(f"a worker failed:\n{result['failed']}")
        unscored |= dict(result.get("unscored", ()))
        progress.num_skipped += len(result.get("unscored", ()))
        progress.counts.update(result.get("counts", {}))
    return unscored


def _pipeline(
    setup: Setup,
    blocks: Sequence[Places],
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
        dataset = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
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
    dataset.set_name("nuggets_score_candidates")
    return dataset


def _results(dataset: ray.data.Dataset) -> Iterator[dict[str, Any]]:
    """What the workers say of each block, as they come."""
    for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0):
        for result in batch["result"]:
            yield json.loads(result)
