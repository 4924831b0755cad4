"""Replicas of one model in Ray actors, which work through blocks that they write themselves."""

import logging
import time
from collections.abc import Sequence
from typing import Any

import ray

from nuggets_ray.errors import UserError
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.watch import watch
from nuggets_ray.stages.cluster.workers import Workers

logger = logging.getLogger(__name__)

MAX_RESTARTS = 3
Block = tuple[Any, ...]
"""The arguments of an actor's `compute`, which returns how many items it did."""


class Replicas:
    """The Ray actors of one model, started when there is work for them.

    `actor` is a class whose instances are made from `setup` and have `compute(*block) -> int`.
    """

    def __init__(
        self,
        actor: type,
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
        self._actor, self._setup, self._workers, self._run = actor, setup, workers, run
        self._progress_s, self._name, self._died = progress_s, name, died
        self._actors: list[Any] = []

    def compute(self, blocks: Sequence[Block], num_items: int, items: str) -> None:
        """Have all blocks done, of `num_items` together; `items` is what the log calls them.

        Raises UserError where the model cannot be loaded, or workers keep dying.
        """
        self._start(min(self._workers.num_workers, len(blocks)))
        waiting = iter(blocks)
        pending: dict[ray.ObjectRef[Any], Any] = {}

        def give_next(actor: Any) -> None:
            if block := next(waiting, None):
                pending[actor.compute.remote(*block)] = actor

        def wait(timeout_s: float) -> list[ray.ObjectRef[Any]] | None:
            return ray.wait(list(pending), timeout=timeout_s)[0] if pending else None

        num_done, said = 0, time.monotonic()

        def tick() -> None:
            nonlocal said
            if time.monotonic() - said > self._progress_s:
                said = time.monotonic()
                logger.info("model %s: %d of %d %s", self._name, num_done, num_items, items)

        for actor in self._actors:
            give_next(actor)
        for ref in watch(self._run, wait, tick):
            actor = pending.pop(ref)
            num_done += self._result(ref)
            give_next(actor)
        if blocks:
            logger.info("model %s: %d %s", self._name, num_done, items)

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
            self._actors.append(ray.remote(self._actor).options(**options).remote(self._setup))

    def _result(self, ref: ray.ObjectRef[Any]) -> int:
        try:
            return int(ray.get(ref))
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise error.cause from None
            raise
        except ray.exceptions.RayActorError as error:
            raise UserError(self._died) from error
