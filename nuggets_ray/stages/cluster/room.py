"""For how many workers a cluster has room, now or once its autoscaler has added nodes."""

import logging
import math
import time
from collections.abc import Sequence

import ray
from ray.autoscaler.sdk import request_resources

logger = logging.getLogger(__name__)

Resources = dict[str, float]
"""What a node has, by Ray's names (CPU, GPU)."""


def alive_nodes() -> list[Resources]:
    """What each node that is alive has."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def capacity(nodes: Sequence[Resources], cpus: int, gpus: float) -> int:
    """How many workers fit, each whole on one node."""
    return sum(
        int(min(node.get("CPU", 0) // cpus, node.get("GPU", 0) // gpus if gpus else math.inf))
        for node in nodes
    )


def wait_for_room(num_workers: int, cpus: int, gpus: float, wait_s: float) -> int:
    """For how many workers there is room, once for all of them or after `wait_s` seconds.

    Meanwhile the autoscaler is asked for them: it adds no node that nothing asks for. Afterwards
    the workers themselves are what the cluster is to hold.
    """
    deadline = time.monotonic() + wait_s
    room = capacity(alive_nodes(), cpus, gpus)
    if room >= num_workers or not wait_s:
        return room
    bundle = {"CPU": cpus, "GPU": gpus} if gpus else {"CPU": cpus}
    request_resources(bundles=[bundle] * num_workers)
    try:
        while room < num_workers and time.monotonic() < deadline:
            logger.info("waiting for nodes: room for %d of %d workers", room, num_workers)
            time.sleep(min(10.0, wait_s))
            room = capacity(alive_nodes(), cpus, gpus)
    finally:
        request_resources(bundles=[])
    return room
