"""Where a training's workers meet, with and without a node in common; no Ray is started."""

import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psutil
import pytest
import torch.distributed as dist

from nuggets_ray.loopback import LOOPBACK
from nuggets_ray.stages.cluster import process_group as module
from nuggets_ray.stages.cluster.process_group import OwnNodesBackend, OwnNodesTorchConfig


class FakeWorkers:
    """Ray Train's worker group: says where its workers are, and keeps what they are to do."""

    def __init__(self, places: list[tuple[str, str]]) -> None:
        self._places = places
        self.calls: list[tuple[int, Callable[..., Any], tuple[Any, ...]]] = []

    def execute(self, function: Callable[..., Any]) -> list[tuple[str, str]]:
        assert function is module.worker_place
        return self._places

    def execute_single(self, rank: int, function: Callable[..., Any], *arguments: Any) -> int:
        self.calls.append((rank, function, arguments))
        return 4711

    execute_single_async = execute_single


@pytest.mark.parametrize(
    ("places", "meet_at", "own"),
    [
        ([("a", "10.0.0.1"), ("a", "10.0.0.1")], LOOPBACK, [LOOPBACK, LOOPBACK]),
        ([("a", "10.0.0.1"), ("b", "10.0.0.2")], "10.0.0.1", ["10.0.0.1", "10.0.0.2"]),
        ([("a", "10.0.0.1")], LOOPBACK, [LOOPBACK]),
    ],
)
def test_loopback_on_one_node_and_the_nodes_own_addresses_across(
    places: list[tuple[str, str]],
    meet_at: str,
    own: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module.ray, "get", lambda refs: refs)
    config = OwnNodesTorchConfig(backend="gloo", timeout_s=5)
    assert config.backend_cls is OwnNodesBackend
    workers, timeout = FakeWorkers(places), timedelta(seconds=5)
    OwnNodesBackend().on_start(workers, config)
    assert workers.calls == [
        (0, module.open_store, (meet_at, len(places), timeout)),
        *(
            (rank, module.join_group, ("gloo", meet_at, 4711, address, timeout))
            for rank, address in enumerate(own)
        ),
    ]


def test_the_store_listens_where_it_is_told_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "stores", [])
    port = module.open_store("127.0.0.2", 1, timedelta(seconds=20))
    heard = {
        (found.laddr.ip.removeprefix("::ffff:"), found.laddr.port)
        for found in psutil.Process().net_connections(kind="inet")
        if found.status == psutil.CONN_LISTEN and found.laddr.port == port
    }
    assert heard == {("127.0.0.2", port)}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, port), timeout=5)
    dist.TCPStore("127.0.0.2", port, 1, timeout=timedelta(seconds=20)).set("a", "b")
    [store] = module.stores
    assert store.get("a") == b"b"
