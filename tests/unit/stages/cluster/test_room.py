"""How many workers a cluster has room for, and what its autoscaler is asked for."""

from typing import Any

import pytest

from nuggets_ray.stages.cluster import room as cluster_room
from nuggets_ray.stages.cluster.room import capacity, wait_for_room


@pytest.mark.parametrize(
    ("nodes", "cpus", "gpus", "room"),
    [
        ([{"CPU": 2.0}, {"CPU": 2.0}, {"CPU": 2.0}], 4, 0.0, 0),  # six CPUs, but no node of four
        ([{"CPU": 9.0}, {"CPU": 5.0}], 4, 0.0, 3),
        ([{"CPU": 64.0, "GPU": 8.0}, {"CPU": 64.0}], 4, 1.0, 8),
        ([{"CPU": 4.0, "GPU": 8.0}], 1, 2.0, 4),
        ([{"CPU": 16.0, "GPU": 1.0}], 1, 0.5, 2),
    ],
)
def test_a_worker_lies_whole_on_one_node(
    nodes: list[dict[str, float]], cpus: int, gpus: float, room: int
) -> None:
    assert capacity(nodes, cpus, gpus) == room


class ScalingCluster:
    """A cluster that has a node more at each look, once it was asked for nodes."""

    def __init__(self) -> None:
        self.asked: list[list[dict[str, float]]] = []
        self.num_nodes = 0

    def request(self, bundles: list[dict[str, float]]) -> None:
        self.asked.append(bundles)

    def nodes(self) -> list[dict[str, Any]]:
        self.num_nodes += bool(self.asked)
        return [{"Alive": True, "Resources": {"CPU": 8.0, "GPU": 1.0}}] * self.num_nodes


@pytest.fixture
def scaling(monkeypatch: pytest.MonkeyPatch) -> ScalingCluster:
    cluster = ScalingCluster()
    monkeypatch.setattr(cluster_room.ray, "nodes", cluster.nodes)
    monkeypatch.setattr(cluster_room, "request_resources", cluster.request)
    monkeypatch.setattr(cluster_room.time, "sleep", lambda seconds: None)
    return cluster


def test_a_cluster_without_nodes_is_asked_for_them_and_then_let_go(scaling: ScalingCluster) -> None:
    assert wait_for_room(3, cpus=4, gpus=1.0, wait_s=60.0) == 3
    assert scaling.asked == [[{"CPU": 4, "GPU": 1.0}] * 3, []]


def test_a_cluster_that_has_room_or_may_not_be_waited_for_is_asked_nothing(
    scaling: ScalingCluster,
) -> None:
    assert wait_for_room(1, cpus=4, gpus=0.0, wait_s=0.0) == 0
    scaling.num_nodes = 2
    assert wait_for_room(2, cpus=8, gpus=0.0, wait_s=60.0) == 2
    assert scaling.asked == []
