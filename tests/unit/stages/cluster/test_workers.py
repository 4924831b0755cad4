"""How many workers a stage asks a cluster for."""

import logging
from typing import Any

import pytest
import ray

from nuggets_ray.config.schema import ClusterConfig
from nuggets_ray.errors import UserError
from nuggets_ray.stages.cluster import room, workers
from nuggets_ray.stages.cluster.workers import connected


@pytest.fixture
def eight_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster of two nodes with four GPUs each, that the process is connected to."""

    def nodes() -> list[dict[str, float]]:
        return [{"CPU": 16.0, "GPU": 4.0}] * 2

    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(workers, "alive_nodes", nodes)
    monkeypatch.setattr(room, "alive_nodes", nodes)


@pytest.mark.parametrize(
    ("asked", "num_workers", "most"),
    [
        ({}, 8, 8),
        ({"max_workers": 3}, 3, 3),  # a cap holds for what the cluster has now, too
        ({"max_workers": 64}, 8, 64),
        ({"num_workers": 2, "max_workers": 6}, 2, 6),
        ({"num_workers": 20}, 20, 20),
        ({"gpus_per_worker": 2}, 4, 4),
        ({"gpus_per_worker": 0}, 32, 32),
        ({"cpus_per_worker": 8}, 4, 4),
    ],
)
@pytest.mark.usefixtures("eight_gpus")
def test_as_many_as_there_is_room_for_unless_told(
    asked: dict[str, Any], num_workers: int, most: int
) -> None:
    with connected(ClusterConfig(address="head:6379", **asked)) as there:
        assert (there.num_workers, there.most) == (num_workers, most)


@pytest.mark.usefixtures("eight_gpus")
def test_too_few_nodes_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.WARNING),
        connected(ClusterConfig(address="head:6379", num_workers=20)),
    ):
        pass
    assert "room for 8 of 20 workers" in caplog.text


@pytest.mark.usefixtures("eight_gpus")
def test_a_worker_that_fits_on_no_node_is_refused() -> None:
    with (
        pytest.raises(UserError, match="no node with 17 CPUs"),
        connected(ClusterConfig(address="head:6379", cpus_per_worker=17)),
    ):
        pass
