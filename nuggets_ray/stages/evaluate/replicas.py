"""Replicas of one model in Ray actors, which work through blocks that they write themselves."""

import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray

from nuggets_ray.errors import UserError
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.watch import watch
from nuggets_ray.stages.cluster.deaths import LifeEvent, Process, this_process
from nuggets_ray.stages.cluster.roster import LOOK_S, Roster
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.evaluate.progress import EvaluationProgress

logger = logging.getLogger(__name__)

MAX_RESTARTS = 3
Block = tuple[Any, ...]
"""The arguments of an actor's `compute`, which returns how many items it did."""


@dataclass(frozen=True, slots=True)
class Computed:
    """A block that `process` has done; `load_s`: how long it loaded the model for that (0: it had
    it).
    """

    num_items: int
    process: Process
    load_s: float


class ReplicaActor:
    """A Ray actor around one replica, which is loaded at its first block (an error there is told as
    it is).
    """

    def __init__(self, replica: type, setup: Any) -> None:
        self._replica = replica(setup)
        self._is_loaded = False

    def who(self) -> Process:
        """The process that is there, before it has the model."""
        return this_process()

    def compute(self, *block: Any) -> Computed:
        """Do a block."""
        load_s = 0.0
        if not self._is_loaded:
            began = time.monotonic()
            self._replica.load()
            self._is_loaded, load_s = True, time.monotonic() - began
        return Computed(self._replica.compute(*block), this_process(), load_s)


class Replicas:
    """The Ray actors of one model, started when there is work for them.

    `replica` is a class whose instances are made from `setup` and have `load()`, and
    `compute(*block) -> int` from then on.
    """

    def __init__(
        self,
        replica: type,
        setup: Any,
        workers: Workers,
        run: Run,
        progress_s: float,
        name: str,
        died: str,
    ) -> None:
        """`name` of the model in the log; `died`: what to say when a worker dies again and again
        (key, what it did, way out).
        """
        self._replica, self._setup, self._workers, self._run = replica, setup, workers, run
        self._progress_s, self._name, self._died = progress_s, name, died
        self._actors: list[Any] = []
        self._starting: list[ray.ObjectRef[Any]] = []
        self._roster = Roster(workers.num_workers)
        self._looked = time.monotonic()

    def compute(
        self, blocks: Sequence[Block], num_items: int, items: str, num_reused: int = 0
    ) -> None:
        """Have all blocks done, of `num_items` together; `items` is what the log calls them, and
        `num_reused` of them were there.

        Raises UserError where the model cannot be loaded, or workers keep dying.
        """
        if not blocks:
            return
        self._start(min(self._workers.num_workers, len(blocks)))
        self._roster.want(len(self._actors))
        waiting = iter(blocks)
        pending: dict[ray.ObjectRef[Any], Any] = {}

        def give_next(actor: Any) -> None:
            if block := next(waiting, None):
                pending[actor.compute.remote(*block)] = actor

        def wait(timeout_s: float) -> list[ray.ObjectRef[Any]] | None:
            return ray.wait(list(pending), timeout=timeout_s)[0] if pending else None

        progress = EvaluationProgress(
            self._run,
            f"model {self._name}: {items}",
            items,
            num_reused + num_items,
            num_reused,
            self._progress_s,
        )

        def tick() -> None:
            self._follow()
            progress.count(0, self._roster.counts)

        for actor in self._actors:
            give_next(actor)
        try:
            for ref in watch(self._run, wait, tick):
                actor = pending.pop(ref)
                done = self._result(ref)
                self._roster.follow([LifeEvent(done.process), LifeEvent(done.process, done.load_s)])
                progress.count(done.num_items, self._roster.counts)
                give_next(actor)
        finally:
            progress.close()
        logger.info("model %s: %d %s", self._name, num_items, items)

    def _follow(self) -> None:
        """Follow who starts, and now and then who is lost."""
        if self._starting:
            num = len(self._starting)
            there, self._starting = ray.wait(self._starting, num_returns=num, timeout=0)
            self._roster.follow([LifeEvent(ray.get(ref)) for ref in there])
        if time.monotonic() - self._looked > LOOK_S:
            self._looked = time.monotonic()
            self._roster.look()

    def close(self) -> None:
        """End the replicas."""
        for actor in self._actors:
            ray.kill(actor)

    def _start(self, num_replicas: int) -> None:
        options = {
            **{"max_restarts": MAX_RESTARTS, "max_task_retries": MAX_RESTARTS},
            **self._workers.ray_options,
        }
        while len(self._actors) < num_replicas:
            # those of an earlier call may not have ended yet
            name = f"nuggets_{self._replica.__name__}_of_{self._name}_{uuid.uuid4().hex[:8]}"
            actor_class: Any = ray.remote(ReplicaActor).options(name=name, **options)
            actor = actor_class.remote(self._replica, self._setup)
            self._actors.append(actor)
            self._starting.append(actor.who.remote())

    def _result(self, ref: ray.ObjectRef[Any]) -> Computed:
        try:
            computed: Computed = ray.get(ref)
            return computed
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise error.cause from None
            raise
        except ray.exceptions.RayActorError as error:
            raise UserError(self._died) from error
