"""A Ray Data pool of scorers, kept warm: it takes blocks of candidates as often as there are some,
and hands their results to the driver as they come.

The pipeline's items are tickets; ticket i waits until the driver has an i-th block. So one
pipeline, with the models that its workers loaded, serves all rounds of a race, and what a first
pass left.

A worker that dies is replaced without limit, unless three in a row die while they load the model;
a block that three died of is given up, and the caller sees it missing. The driver stays awake while
it waits: for progress, for Ctrl-C, and for an out_dir that is lost.
"""

import asyncio
import errno
import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

import ray.data
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

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


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that one worker computes: where they lie in candidates/. On which anchors; without any
    on all, as whole rows of scores/. Of a race, for which round; None with anchors: of anchors that
    are being added.
    `signals`: whether what is asked of rows beside their scores is taken down; without `scores`
    nothing but that.
    """

    places: Places
    round: int | None = None
    ask: int = 0
    anchors: tuple[int, ...] = ()
    signals: bool = False
    scores: bool = True


@ray.remote(num_cpus=0)
class Feed:
    """The blocks that the driver has given so far, by ticket."""

    def __init__(self) -> None:
        self._blocks: list[str] = []
        self._grown = asyncio.Event()

    async def add(self, blocks: Sequence[str]) -> None:
        """More blocks, for the next tickets."""
        self._blocks += blocks
        self._grown.set()
        self._grown = asyncio.Event()

    async def block(self, ticket: int) -> str:
        """The block of a ticket, once there is one."""
        while ticket >= len(self._blocks):
            await self._grown.wait()
        return self._blocks[ticket]


class ScorerPool:
    """As many scorers as there are workers, from the first block on until the `with` ends."""

    def __init__(
        self,
        run: Run,
        setup: Setup,
        baseline_ref: ray.ObjectRef[Any],
        workers: Workers,
        progress: Progress,
        max_blocks: int,
    ) -> None:
        """`max_blocks` is how many blocks are expected at most; with more, workers start again."""
        self._run, self._setup, self._workers = run, setup, workers
        self._baseline_ref, self._progress = baseline_ref, progress
        self._max_blocks = max_blocks
        self._producer: Producer[dict[str, Any]] | None = None
        self._feed: Any = None
        self._num_tickets = self._num_given = 0
        self._idle_worker_s = 0.0
        self._not_ours: list[threading.Thread] = []

    def __enter__(self) -> "ScorerPool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def idle_worker_s(self) -> float:
        """Seconds in which a worker found no block at the end of a `run`, summed over workers."""
        return self._idle_worker_s

    def run(self, blocks: Sequence[Block]) -> dict[str, str]:
        """Compute `blocks`; {content_id: reason} of the candidates in them that cannot be scored.

        What blocks that were given up held is missing from the parts and from what is returned.
        Raises FileNotFoundError when out_dir vanishes, OSError when a worker finds its disk full,
        UserError where a worker cannot have the model or none can load it, RuntimeError with a
        worker's traceback when one fails for another reason than its row.
        """
        if not blocks:
            return {}
        if self._producer is None or self._num_given + len(blocks) > self._num_tickets:
            self._start(max(self._max_blocks, len(blocks)))
        assert self._producer is not None
        first = self._num_given
        self._num_given += len(blocks)
        ray.get(self._feed.add.remote([json.dumps(asdict(block)) for block in blocks]))
        return self._collect(self._producer, set(range(first, self._num_given)))

    def _start(self, num_tickets: int) -> None:
        self._end()
        self._not_ours = threading.enumerate()
        self._progress.begin_pool()
        # with the driver's node everything ends, with another the blocks would be forgotten
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        feed: Any = Feed
        self._feed = feed.options(scheduling_strategy=here).remote()
        self._num_tickets, self._num_given = num_tickets, 0
        self._producer = Producer(_results(self._pipeline(num_tickets)), name="blocks")
        self._producer.start()

    def _end(self) -> None:
        if self._producer is None:
            return
        end_executors(but=self._not_ours)
        self._producer.join(JOIN_S)
        self._producer = None
        ray.kill(self._feed)
        self._progress.begin_pool()

    def _collect(self, producer: Producer[dict[str, Any]], waiting: set[int]) -> dict[str, str]:
        config, progress = self._setup.config, self._progress

        def tick() -> None:
            progress.poll()
            refuse_endless_loading(progress.lost_loading, config.model, config.cluster)

        unscored: dict[str, str] = {}
        since = time.monotonic()
        for result in watch(self._run, producer.wait, tick):
            if "refused" in result:
                raise UserError(result["refused"])
            if "disk_full" in result:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), result["disk_full"] or None)
            if "failed" in result:
                raise RuntimeError(f"a worker failed:\n{result['failed']}")
            unscored |= dict(result.get("unscored", ()))
            progress.num_skipped += len(result.get("unscored", ()))
            progress.counts.update(result.get("counts", {}))
            now = time.monotonic()
            num_idle = max(0, self._workers.num_workers - len(waiting))
            self._idle_worker_s, since = self._idle_worker_s + num_idle * (now - since), now
            waiting.discard(result["ticket"])
            if not waiting:
                break
        progress.poll()
        return unscored

    def _pipeline(self, num_tickets: int) -> ray.data.Dataset:
        context = ray.data.DataContext.get_current().copy()
        context.enable_progress_bars = False
        # the missing blocks are found by their ids, so none may fail the run (its traceback would
        # only frighten)
        context.max_errored_blocks = -1
        # a long block, or nodes that are slow to come, are no reason to end a run
        context.execution_no_progress_timeout_s = -1
        # a worker has one block at a time: where all have one, more workers are of use
        context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        items = [{"ticket": ticket} for ticket in range(num_tickets)]
        arguments = (self._setup, [self._baseline_ref], self._progress.counter, self._feed)
        with ray.data.DataContext.current(context):
            dataset = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
                Scorer,
                fn_constructor_args=arguments,
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(
                    min_size=self._workers.num_workers,
                    max_size=self._workers.most,
                    max_tasks_in_flight_per_actor=1,
                ),
                max_restarts=-1,
                # the worker gives up a block for deaths; a lost node costs it nothing
                max_task_retries=-1,
                **self._workers.ray_options,
            )
        dataset.set_name("nuggets_score_candidates")
        return dataset


def _results(dataset: ray.data.Dataset) -> Iterator[dict[str, Any]]:
    """What the workers say of each block, as they come."""
    for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0):
        for result in batch["result"]:
            yield json.loads(result)
