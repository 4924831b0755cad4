"""Connect to Ray, or start one on this machine, and say what workers it can hold.

Checked here, before any model loads: enough CPUs or GPUs for cluster.num_workers, and that every
node sees out_dir.
"""

import itertools
import logging
import os
import signal
import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray._private import auto_init_hook
from ray._private.state import state
from ray.data._internal.execution.streaming_executor import StreamingExecutor
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nuggets_ray import io
from nuggets_ray.config.schema import ClusterConfig
from nuggets_ray.errors import UserError
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.stage_status import WorkerCounts
from nuggets_ray.score.worker_environment import FEW_KERNELS, KEEP_MEMORY
from nuggets_ray.stages.cluster.address import check_address, unreachable
from nuggets_ray.stages.cluster.own_ray import (
    ON_LOOPBACK,
    closed_doors,
    in_a_session_of_its_own,
    told_where_too_busy,
    warn_if_open,
)
from nuggets_ray.stages.cluster.room import Resources, alive_nodes, capacity, wait_for_room
from nuggets_ray.stderr import set_quiet, without_noise

logger = logging.getLogger(__name__)

NUMBERS = itertools.count()


@dataclass(frozen=True, slots=True)
class Workers:
    """How many model replicas there are, what each gets, and where it computes ("cuda" or
    "cpu").
    """

    num_workers: int
    gpus_per_worker: float
    cpus_per_worker: int
    max_workers: int | None = None

    @property
    def most(self) -> int:
        """What num_workers may grow to while nodes join."""
        return max(self.num_workers, self.max_workers or 0)

    @property
    def device(self) -> str:
        return "cuda" if self.gpus_per_worker else "cpu"

    @property
    def ray_options(self) -> dict[str, Any]:
        """Resources of one replica, for Ray."""
        return {"num_cpus": self.cpus_per_worker, "num_gpus": self.gpus_per_worker}


@contextmanager
def connected(config: ClusterConfig) -> Iterator[Workers]:
    """Ray for the time of the context; a Ray that was there before is left as it is.

    Raises UserError when a cluster of the address cannot be reached, or a local one is too small
    for the workers.
    """
    address = config.address
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or "local"
    doors = nullcontext() if ray.is_initialized() else closed_doors(address)
    with doors, _connected(config, address) as workers:
        yield workers


@contextmanager
def told_connected(run: Run, config: ClusterConfig) -> Iterator[Workers]:
    """The same, told by the run that waits for it."""
    if not ray.is_initialized():
        run.tell("starting Ray, or connecting to it")
    with connected(config) as workers:
        run.tell(workers=WorkerCounts(wanted=workers.num_workers))
        yield workers


@contextmanager
def _connected(config: ClusterConfig, address: str) -> Iterator[Workers]:
    if ray.is_initialized():
        # whoever connected has waited for the nodes
        yield _fit(replace(config, wait_s=0.0), is_local=address == "local")
        return
    if address == "local":
        _refuse_too_many(config, [{"CPU": os.cpu_count() or 1, "GPU": _num_local_gpus()}])
        store_bytes = int(config.object_store_gib * 2**30)
        here = {"address": "local", "include_dashboard": False, **ON_LOOPBACK}
        with in_a_session_of_its_own(), told_where_too_busy():
            _init(config, object_store_memory=store_bytes, **here)
        warn_if_open()
    else:
        check_address(config.address, address)
        try:
            _init(config, address=address)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise unreachable(config.address, address, error) from error
    try:
        yield _fit(config, is_local=address == "local")
    finally:
        end_executors()
        ray.shutdown()


def end_executors(but: Collection[threading.Thread] = ()) -> None:
    """Stop the threads in which Ray Data goes on with a pipeline that was left early, but for some.

    One that calls Ray while it is shut down would end this process at once, with exit code 1.
    """
    for thread in threading.enumerate():
        if isinstance(thread, StreamingExecutor) and thread not in but:
            thread.shutdown(force=True)


def named_actor(actor_class: Any, name: str, run: Run) -> Any:
    """The class with a name for its actor that says in the dashboard what it does, and for whom.

    Numbered, as an attempt may have several in turn, and Ray ends an actor some time after its last
    use.
    """
    return actor_class.options(name=f"{name}_{run.attempt_id}_{next(NUMBERS)}")


def result_of(ref: ray.ObjectRef[Any]) -> Any:
    """What a task returned; a UserError that it raised comes out as such, not as Ray's of it."""
    try:
        return ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise


def on_worker(workers: Workers, function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of `function` where the workers' GPUs are; the driver's node may have none."""
    if workers.device == "cpu":
        return function(*arguments)
    return result_of(ray.remote(function).options(**workers.ray_options).remote(*arguments))


def refuse_missing(workers: Workers) -> None:
    """Raise UserError where the cluster has no room for all workers, of a job that needs them all
    at once.
    """
    room = capacity(alive_nodes(), workers.cpus_per_worker, workers.gpus_per_worker)
    if room < workers.num_workers:
        raise UserError(
            f"cluster.num_workers={workers.num_workers}: the cluster has room for {room} workers "
            f"of {workers.cpus_per_worker} CPUs and {workers.gpus_per_worker:g} GPUs, and training "
            "needs them all at once: lower it, or wait longer with cluster.wait_s"
        )


def check_shared_folder(out_dir: str) -> None:
    """Raise UserError naming the nodes that do not see a file the driver has just written under
    out_dir.
    """
    token = uuid.uuid4().hex
    uri = RunFolder(out_dir).token(token)
    io.write_bytes(uri, token.encode())
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        reads = [
            ray.remote(io.read_bytes)
            .options(
                num_cpus=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
            )
            .remote(uri)
            for node in nodes
        ]
        blind = []
        for node, read in zip(nodes, reads, strict=True):
            try:
                ray.get(read, timeout=120)
            except (ray.exceptions.RayTaskError, ray.exceptions.GetTimeoutError, OSError):
                blind.append(node["NodeManagerHostname"])
            except ray.exceptions.RayError as error:
                # the node is lost, which says nothing of out_dir
                logger.warning("%s did not answer: %s", node["NodeManagerHostname"], error)
    finally:
        io.delete(uri)
    if blind:
        raise UserError(
            f"out_dir={out_dir} is not shared: {', '.join(blind)} cannot read what the driver "
            "wrote there; "
            "give a folder that every node mounts, or an s3:// or gs:// URI"
        )


def _init(config: ClusterConfig, **options: Any) -> None:
    set_quiet()
    # one environment for all tasks, so that a process that has loaded torch serves several of them
    env_vars = {"OMP_NUM_THREADS": str(config.cpus_per_worker), **KEEP_MEMORY, **FEW_KERNELS}
    with _our_sigterm(), without_noise():
        ray.init(
            logging_level=logging.WARNING,
            log_to_driver=False,
            runtime_env={"env_vars": env_vars},
            **options,
        )


@contextmanager
def _our_sigterm() -> Iterator[None]:
    """Keep the handler of SIGTERM over ray.init, which puts one of its own in its place."""
    # a thread that calls Ray once it is shut down would start another by itself
    auto_init_hook.enable_auto_connect = False
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as ended:  # Ray's handler, on a SIGTERM while it starts
        raise KeyboardInterrupt from ended
    finally:
        signal.signal(signal.SIGTERM, handler)


def _fit(config: ClusterConfig, is_local: bool) -> Workers:
    """The workers that the cluster can hold now, or after cluster.wait_s for one that scales."""
    nodes = alive_nodes()
    if is_local:
        _refuse_too_many(config, nodes)
    cpus, gpus = config.cpus_per_worker, _gpus_per_worker(config, nodes)
    room = capacity(nodes, cpus, gpus)
    num_workers = config.num_workers or max(1, min(room, config.max_workers or room))
    room = wait_for_room(num_workers, cpus, gpus, config.wait_s)
    if room == 0:
        raise UserError(
            f"cluster.num_workers={num_workers}: the cluster has no node with {cpus} CPUs and "
            f"{gpus:g} GPUs for one worker; lower cluster.cpus_per_worker or "
            "cluster.gpus_per_worker"
        )
    if room < num_workers:
        logger.warning(
            "starting with room for %d of %d workers; more join as nodes come", room, num_workers
        )
    return Workers(num_workers, gpus, cpus, config.max_workers)


def _refuse_too_many(config: ClusterConfig, nodes: Sequence[Resources]) -> None:
    cpus, gpus = config.cpus_per_worker, _gpus_per_worker(config, nodes)
    room = capacity(nodes, cpus, gpus)
    if (config.num_workers or 1) > room:
        has_cpus, has_gpus = (sum(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU"))
        raise UserError(
            f"cluster.num_workers={config.num_workers or 1}: this machine has room for {room} "
            f"workers of {cpus} CPUs and {gpus:g} GPUs ({has_cpus:g} CPUs, {has_gpus:g} GPUs); "
            "lower it, or give cluster.address"
        )


def _gpus_per_worker(config: ClusterConfig, nodes: Sequence[Resources]) -> float:
    if config.gpus_per_worker is not None:
        return config.gpus_per_worker
    has_gpus = any(node.get("GPU") for node in nodes)
    return 1.0 if has_gpus or _may_scale_to_gpus() else 0.0


def _may_scale_to_gpus() -> bool:
    """Whether the autoscaler of the cluster, where there is one, can bring nodes with GPUs."""
    if not ray.is_initialized():
        return False
    most = state.get_max_resources_from_cluster_config()
    return bool(most and most.get("GPU"))


def _num_local_gpus() -> int:
    import torch

    return torch.cuda.device_count()
