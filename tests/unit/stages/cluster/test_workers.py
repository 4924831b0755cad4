"""How many workers a cluster has room for."""

import pytest

from nuggets_ray.stages.cluster.workers import capacity


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
