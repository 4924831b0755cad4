"""The process group of a training: it listens where its own workers are, and nowhere else.

Ray Train's own setup lets torch's store listen on every interface of the first worker's node. Here
the first worker hands the store a listener: on loopback where all workers share a node, on its
node's address else; gloo and nccl are told the interface of that address.
"""

import os
import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import ray
import ray.train
import torch.distributed as dist
from ray.train.backend import BackendConfig
from ray.train.torch import TorchConfig
from ray.train.torch.config import _set_torch_distributed_env_vars, _TorchBackend
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]

from nuggets_ray.loopback import LOOPBACK, on_interface_of

stores: list[Store] = []
"""The first worker's, from `open_store` to `join_group`, which are two calls of one process."""


@dataclass
class OwnNodesTorchConfig(TorchConfig):
    """TorchConfig whose process group listens on no more than it must."""

    @property
    def backend_cls(self) -> type:
        return OwnNodesBackend


class OwnNodesBackend(_TorchBackend):
    """Ray Train's torch backend with a rendezvous of our own."""

    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        """Join all workers, which Ray Train has started, in one process group."""
        assert isinstance(backend_config, TorchConfig)
        timeout = timedelta(seconds=backend_config.timeout_s)
        places = worker_group.execute(worker_place)
        is_one_node = len({node_id for node_id, _ in places}) == 1
        addresses = [LOOPBACK if is_one_node else address for _, address in places]
        port = worker_group.execute_single(0, open_store, addresses[0], len(places), timeout)
        joined = [
            worker_group.execute_single_async(
                rank, join_group, backend_config.backend, addresses[0], port, address, timeout
            )
            for rank, address in enumerate(addresses)
        ]
        ray.get(joined)


def worker_place() -> tuple[str, str]:
    """Node and address of a worker."""
    return ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()


def open_store(address: str, num_workers: int, timeout: timedelta) -> int:
    """On the first worker: open the store that all meet at; its port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, 0), family=family)
    port = int(listener.getsockname()[1])
    store = TCPStore(
        address,
        port,
        num_workers,
        is_master=True,
        timeout=timeout,
        wait_for_workers=False,
        master_listen_fd=listener.detach(),
    )
    stores.append(store)
    return port


def join_group(backend: str, host: str, port: int, address: str, timeout: timedelta) -> None:
    """On every worker, whose own address is `address`: enter the group."""
    _set_torch_distributed_env_vars()
    # DeepSpeed would look for MPI without them
    os.environ |= {"MASTER_ADDR": host, "MASTER_PORT": str(port)}
    on_interface_of(address)
    num_workers = ray.train.get_context().get_world_size()
    store = stores.pop() if stores else TCPStore(host, port, num_workers, timeout=timeout)
    dist.init_process_group(
        backend,
        store=store,
        rank=ray.train.get_context().get_world_rank(),
        world_size=num_workers,
        timeout=timeout,
    )
