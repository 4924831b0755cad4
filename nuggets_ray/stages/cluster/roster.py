"""Who works: the story of the workers of a stage and of the cluster's nodes, for log and status.

The processes tell when they load and when they are ready (deaths.Journal); that one is gone is told
by Ray's own tables, or by the next life of its actor.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import ray

from nuggets_ray.run.stage_status import WorkerCounts
from nuggets_ray.stages.cluster.deaths import (
    INTENDED,
    OUT_OF_MEMORY,
    Exit,
    LifeEvent,
    Process,
    exits_of,
    reason,
)

logger = logging.getLogger(__name__)

LOOK_S = 5.0
"""Seconds between two looks at Ray's tables of nodes and processes."""
WAIT_SAID_S = 30.0
"""So long may fewer workers be there than are wanted before it is said."""


@dataclass(slots=True)
class Life:
    """A process of worker `number` (from 1)."""

    number: int
    process: Process
    is_ready: bool = False
    is_lost: bool = False


class Roster:
    """The workers of a stage that wants `num_workers`, and takes up to `most` as nodes join;
    `num_out_of_memory` of the lost ones were ended for memory.
    """

    def __init__(
        self, num_workers: int, clock: Callable[[], float] = time.monotonic, most: int = 0
    ) -> None:
        self._num_workers, self._clock, self._most = num_workers, clock, most
        self._lives: dict[str, Life] = {}
        self._nodes: dict[str, str] = {}
        self._num_lost = self._num_replaced = self.num_out_of_memory = 0
        self._short_since: float | None = clock()
        self._is_wait_said = False

    def want(self, num_workers: int) -> None:
        """So many workers are wanted from now on."""
        self._num_workers = num_workers

    def begin(self) -> None:
        """A new pool of workers starts; the last one has ended as it should."""
        self._lives = {}
        self._short_since = self._clock()

    @property
    def counts(self) -> WorkerCounts:
        there = self._there()
        num_ready = sum(life.is_ready for life in there)
        return WorkerCounts(
            wanted=self._num_workers,
            loading=len(there) - num_ready,
            ready=num_ready,
            lost=self._num_lost,
            replaced=self._num_replaced,
        )

    def look(self) -> None:
        """Ask Ray which nodes there are, and which of the processes have ended."""
        nodes = {n["NodeID"]: n["NodeManagerHostname"] for n in ray.nodes() if n["Alive"]}
        self.follow_nodes(nodes)
        if there := self._there():
            self.follow_exits(exits_of([life.process for life in there]))

    def follow(self, events: Sequence[LifeEvent]) -> None:
        """What processes told of themselves, in order."""
        for event in events:
            life = self._lives.get(event.process.actor_id)
            if event.hung_s is not None:
                if life is not None and life.process == event.process and not life.is_lost:
                    self._lose(life, None, _hangs(event.hung_s))
                continue
            if event.load_s is None:
                self._load(event.process)
                continue
            if life is not None and life.process == event.process and not life.is_ready:
                life.is_ready = True
                logger.info("%s is ready after %.1f s", self._name(life), event.load_s)
        self._say_if_short()

    def follow_exits(self, exits: Mapping[str, Exit]) -> None:
        """{worker id: how it ended} of processes that Ray knows to have ended."""
        for life in self._there():
            ended = exits.get(life.process.worker_id)
            if ended is None:
                continue
            if ended.kind in INTENDED:
                self._lives.pop(life.process.actor_id)
            else:
                self._lose(life, ended)

    def follow_nodes(self, nodes: Mapping[str, str]) -> None:
        """{node id: host name} of the nodes that are alive."""
        before, self._nodes = self._nodes, dict(nodes)
        if not before:
            return
        for node_id in before.keys() - nodes.keys():
            logger.warning("node %s is lost", before[node_id])
        for node_id in nodes.keys() - before.keys():
            logger.info("node %s joined", nodes[node_id])
        for life in self._there():
            if life.process.node_id in before.keys() - nodes.keys():
                self._lose(life, None, f"its node {before[life.process.node_id]} is lost")

    def _there(self) -> list[Life]:
        return [life for life in self._lives.values() if not life.is_lost]

    def _load(self, process: Process) -> None:
        before = self._lives.get(process.actor_id)
        if before is not None and before.process == process:
            return
        if before is not None:
            if not before.is_lost:
                self._lose(before, exits_of([before.process]).get(before.process.worker_id))
            self._num_replaced += 1
        taken = {life.number for life in self._lives.values()}
        free = next(number for number in range(1, len(taken) + 2) if number not in taken)
        life = Life(before.number if before else free, process)
        self._lives[process.actor_id] = life
        grown = min(len(self._there()), self._most)
        self._num_workers = max(self._num_workers, grown)
        how = "starts again and loads" if before else "loads"
        logger.info("%s %s the model", self._name(life), how)

    def _lose(self, life: Life, ended: Exit | None, why: str | None = None) -> None:
        life.is_lost = True
        self._num_lost += 1
        self.num_out_of_memory += ended is not None and ended.kind == OUT_OF_MEMORY
        why = why or reason([life.process], ended)
        logger.warning("%s is lost (%s); Ray starts it again", self._name(life), why)

    def _name(self, life: Life) -> str:
        return f"worker {life.number} of {self._num_workers}"

    def _say_if_short(self) -> None:
        """Once, where workers have not come for a while: the cluster may have no room for them."""
        missing = self._num_workers - len(self._there())
        if missing <= 0:
            self._short_since, self._is_wait_said = None, False
            return
        if self._short_since is None:
            self._short_since = self._clock()
        if not self._is_wait_said and self._clock() - self._short_since > WAIT_SAID_S:
            self._is_wait_said = True
            logger.info(
                "waiting for %d of %d workers: for room in the cluster, or for Ray to start them",
                *(missing, self._num_workers),
            )


def _hangs(seconds: float) -> str:
    return f"one call of the engine took over {seconds:.0f} s, see score.batch_timeout_s"
