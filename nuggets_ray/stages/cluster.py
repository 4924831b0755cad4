"""Connect to Ray, or start one on this machine, and say what workers it can hold.

Checked here, before any model loads: enough CPUs or GPUs for cluster.num_workers, and that every
node sees out_dir.
"""

import logging
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nuggets_ray import io
from nuggets_ray.config import ClusterConfig, UserError

logger = logging.getLogger(__name__)


KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 33)}
"""glibc keeps the memory of freed tensors for the next ones. Handing it back after every layer cost
4 to 6% of a replica's CPU seconds in page faults (demo model, bfloat16).
"""


@dataclass(frozen=True, slots=True)
class Workers:
    """How many model replicas there are, what each gets, and where it computes ("cuda" or
    "cpu").
    """

    num_workers: int
    gpus_per_worker: float
    cpus_per_worker: int

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
    if ray.is_initialized():
        yield _fit(config, is_local=True)
        return
    address = config.address
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "local")
    if address == "local":
        _refuse_too_many(config, {"CPU": os.cpu_count() or 1, "GPU": _num_local_gpus()})
        store_bytes = int(config.object_store_gib * 2**30)
        _init(config, address="local", include_dashboard=False, object_store_memory=store_bytes)
    else:
        try:
            _init(config, address=address)
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"cluster.address={config.address}: no cluster answers at {address} ({reason}); "
                "start one, or take cluster.address=local"
            ) from error
    try:
        yield _fit(config, is_local=address == "local")
    finally:
        ray.shutdown()


def check_shared_folder(out_dir: str) -> None:
    """Raise UserError naming the nodes that do not see a file the driver has just written under
    out_dir.
    """
    token = uuid.uuid4().hex
    uri = io.join(out_dir, f"token-{token}")
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
            except (ray.exceptions.RayError, OSError):
                blind.append(node["NodeManagerHostname"])
    finally:
        io.delete(uri)
    if blind:
        raise UserError(
            f"out_dir={out_dir} is not shared: {', '.join(blind)} cannot read what the driver "
            "wrote there; "
            "give a folder that every node mounts, or an s3:// or gs:// URI"
        )


def _init(config: ClusterConfig, **options: Any) -> None:
    # Ray's C++ would print that restarted actors need their arguments; the driver holds them
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # one environment for all tasks, so that a process that has loaded torch serves several of them
    env_vars = {"OMP_NUM_THREADS": str(config.cpus_per_worker), **KEEP_MEMORY}
    ray.init(
        logging_level="WARNING",
        log_to_driver=False,
        runtime_env={"env_vars": env_vars},
        **options,
    )


def _fit(config: ClusterConfig, is_local: bool) -> Workers:
    """The workers that the cluster can hold now, or after cluster.wait_s for one that scales."""
    resources = ray.cluster_resources()
    gpus = config.gpus_per_worker
    if gpus is None:
        gpus = 1.0 if resources.get("GPU") else 0.0
    num_workers = config.num_workers or max(1, _capacity(resources, gpus, config.cpus_per_worker))
    workers = Workers(num_workers, gpus, config.cpus_per_worker)
    if is_local:
        _refuse_too_many(config, resources)
        return workers
    deadline = time.monotonic() + config.wait_s
    while (room := _capacity(ray.cluster_resources(), gpus, config.cpus_per_worker)) < num_workers:
        if time.monotonic() > deadline:
            break
        logger.info("waiting for nodes: room for %d of %d workers", room, num_workers)
        time.sleep(min(10.0, config.wait_s))
    if room == 0:
        raise UserError(
            f"cluster.num_workers={num_workers}: the cluster has no node with "
            f"{config.cpus_per_worker} CPUs and "
            f"{gpus:g} GPUs free for one worker; lower cluster.cpus_per_worker or "
            "cluster.gpus_per_worker"
        )
    if room < num_workers:
        logger.warning(
            "starting with room for %d of %d workers; more join as nodes come", room, num_workers
        )
    return workers


def _refuse_too_many(config: ClusterConfig, resources: dict[str, float]) -> None:
    gpus = config.gpus_per_worker
    if gpus is None:
        gpus = 1.0 if resources.get("GPU") else 0.0
    room = _capacity(resources, gpus, config.cpus_per_worker)
    if (config.num_workers or 1) > room:
        raise UserError(
            f"cluster.num_workers={config.num_workers or 1}: this machine has room for {room} "
            "workers of "
            f"{config.cpus_per_worker} CPUs and {gpus:g} GPUs ({resources.get('CPU', 0):g} CPUs, "
            f"{resources.get('GPU', 0):g} GPUs); lower it, or give cluster.address"
        )


def _capacity(resources: dict[str, float], gpus: float, cpus: int) -> int:
    room = int(resources.get("CPU", 0) // cpus)
    return min(room, int(resources.get("GPU", 0) // gpus)) if gpus else room


def _num_local_gpus() -> int:
    import torch

    return torch.cuda.device_count()
