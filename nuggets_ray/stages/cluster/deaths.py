"""Which worker process holds which block, and which died of theirs.

A block, and at last a row, is given up for the deaths of processes that held it. A lost node, or a
worker that cannot be reached for a while, says nothing against a row.
"""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import ray
from ray._private.state import state
from ray.core.generated.common_pb2 import WorkerExitType  # type: ignore[attr-defined]
from ray.core.generated.gcs_pb2 import WorkerTableData  # type: ignore[attr-defined]

from nuggets_ray.config.schema import ClusterConfig, ModelConfig
from nuggets_ray.errors import UserError

MAX_DEATHS = 3
"""Of processes that held a block, until it is given up; of processes in a row that died while they
loaded the model, until the run is.
"""
INTENDED = ("INTENDED_SYSTEM_EXIT", "INTENDED_USER_EXIT")
OUT_OF_MEMORY = "NODE_OUT_OF_MEMORY"
"""What Ray calls the end of a process: on purpose, and by its memory monitor."""


@dataclass(frozen=True, slots=True)
class Process:
    """A worker process, and the actor that it is a life of (ids in hex); `num_oom_kills` is how
    often its node's kernel had ended processes for memory when it began.
    """

    node_id: str
    worker_id: str
    actor_id: str
    num_oom_kills: int = 0


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended, in Ray's words: `kind` such as SYSTEM_ERROR, and a detail."""

    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class LifeEvent:
    """A process begins to load the model (`load_s` None), or is ready, after so many seconds; or it
    ends itself, as one call has taken `hung_s` seconds."""

    process: Process
    load_s: float | None = None
    hung_s: float | None = None


@dataclass(slots=True)
class Journal:
    """What the processes tell of themselves, in the order in which they tell it."""

    _loading: dict[str, Process] = field(default_factory=dict)
    _lost_loading: list[Process] = field(default_factory=list)
    _holders: dict[str, list[Process]] = field(default_factory=dict)
    _events: list[LifeEvent] = field(default_factory=list)
    _num_retries: int = 0

    def take_events(self) -> tuple[list[LifeEvent], int]:
        """(what processes told, how many blocks were begun again) since the last call."""
        taken = self._events, self._num_retries
        self._events, self._num_retries = [], 0
        return taken

    def loading(self, process: Process) -> None:
        """A process begins to load the model: what its actor was before is gone."""
        before = self._loading.get(process.actor_id)
        if before is not None:
            self._lost_loading.append(before)
        self._loading[process.actor_id] = process
        self._events.append(LifeEvent(process))

    def ready(self, process: Process, load_s: float = 0.0) -> None:
        """The process has the model, after so many seconds: loading it is possible."""
        self._loading.pop(process.actor_id, None)
        self._lost_loading.clear()
        self._events.append(LifeEvent(process, load_s))

    def hangs(self, process: Process, seconds: float) -> None:
        """The process ends itself: one call has taken so many seconds."""
        self._events.append(LifeEvent(process, hung_s=seconds))

    @property
    def lost_loading(self) -> list[Process]:
        """Processes that were lost while they loaded, in a row: none was ready between."""
        return list(self._lost_loading)

    def hold(self, block: str, process: Process) -> list[Process]:
        """A process begins with a block; the others that began with it and never ended."""
        holders = self._holders.setdefault(block, [])
        if process not in holders:
            self._num_retries += bool(holders)
            holders.append(process)
        return [holder for holder in holders if holder != process]

    def release(self, block: str) -> None:
        """The block is done: whoever held it lived."""
        self._holders.pop(block, None)


def this_process() -> Process:
    """The process of the calling actor (without an actor's id where it is none)."""
    context = ray.get_runtime_context()
    actor_id = context.get_actor_id() or ""  # a driver's
    return Process(context.get_node_id(), context.get_worker_id(), actor_id, _num_oom_kills())


def _num_oom_kills() -> int:
    if not os.path.exists("/proc/vmstat"):
        return 0
    with open("/proc/vmstat", encoding="ascii") as file:
        counts = dict(line.split() for line in file)
    return int(counts.get("oom_kill", 0))


def died(
    lost: Iterable[Process], live_nodes: Collection[str], exits: Mapping[str, Exit]
) -> list[Process]:
    """Those of `lost` that died themselves: their node lives on, and nobody ended them on purpose.

    `exits` is {worker id: how it ended}, as far as it is known.
    """
    return [
        process
        for process in lost
        if process.node_id in live_nodes
        and not (process.worker_id in exits and exits[process.worker_id].kind in INTENDED)
    ]


def deaths_of(lost: Sequence[Process]) -> list[Process]:
    """Those of `lost` that died themselves, as the cluster has it now."""
    if not lost:
        return []
    live_nodes = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    return died(lost, live_nodes, exits_of(lost))


def exits_of(processes: Iterable[Process]) -> dict[str, Exit]:
    """{worker id: how it ended} of those processes that Ray knows to have ended."""
    wanted = {process.worker_id for process in processes}
    # the public state API asks the dashboard, which a local Ray does without
    rows = state._connect_and_get_accessor().get_worker_table()
    exits = {}
    for row in map(WorkerTableData.FromString, rows):
        worker_id = row.worker_address.worker_id.hex()
        if worker_id in wanted and not row.is_alive:
            exits[worker_id] = Exit(WorkerExitType.Name(row.exit_type), row.exit_detail)
    return exits


def refuse_endless_loading(
    lost: Sequence[Process], model: ModelConfig, cluster: ClusterConfig
) -> None:
    """Raise UserError where MAX_DEATHS of `lost`, in a row while they loaded, died themselves."""
    if len(lost) < MAX_DEATHS:
        return
    dead = deaths_of(lost)
    if len(dead) >= MAX_DEATHS:
        last = exits_of(dead).get(dead[-1].worker_id)
        raise UserError(cannot_load(model, cluster, reason(dead, last)))


def reason(dead: Sequence[Process], last: Exit | None) -> str:
    """Why processes died, as far as it can be told: `last` is how the last of them ended."""
    if last is not None and last.kind == OUT_OF_MEMORY:
        return "Ray ended them because the memory of their node ran out"
    on_last_node = [p.num_oom_kills for p in dead if p.node_id == dead[-1].node_id]
    if on_last_node and max(on_last_node) > min(on_last_node):
        return "the kernel ended processes there because memory ran out"
    if last is None:
        return "by a signal such as SIGKILL or SIGSEGV"
    detail = " ".join(last.detail.split()).split(". Some common causes")[0].rstrip(".")
    return f"by a signal such as SIGKILL or SIGSEGV: Ray says {detail!r}"


def cannot_load(model: ModelConfig, cluster: ClusterConfig, why: str) -> str:
    """The sentence for workers that died one after another while they loaded the model."""
    return (
        f"model.path={model.path}: {MAX_DEATHS} workers in a row died while they loaded the "
        f"model ({why}); what is finished is kept: mostly memory is too small for "
        f"cluster.num_workers={cluster.num_workers} replicas, so lower that, take a smaller "
        "model, or look into the workers' logs in Ray's session folder"
    )
