"""Decisions of the stages that no small cluster shows: capacity, when a fingerprint binds."""

import os
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from nuggets_ray import io
from nuggets_ray.config.schema import Config, ModelConfig, ScoreConfig
from nuggets_ray.errors import UserError
from nuggets_ray.run import scores
from nuggets_ray.run.manifest import Run
from nuggets_ray.stages.cluster.workers import _capacity
from nuggets_ray.stages.score import anchors
from nuggets_ray.stages.score.anchors import claim
from nuggets_ray.stages.score.worker import Setup


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
    assert _capacity(nodes, cpus, gpus) == room


def test_a_fingerprint_binds_with_the_first_score(tmp_path: Path) -> None:
    out_dir = str(tmp_path)
    with Run(out_dir, "score") as run:
        claim(run, {"dtype": "bfloat16", "weights": "a"})
        io.write_bytes(io.join(out_dir, "anchors.parquet"), b"of the first attempt")
    with Run(out_dir, "score") as run:
        claim(run, {"dtype": "float32", "weights": "a"})  # nothing is scored: a way out
        assert run.manifest["fingerprint"] == {"dtype": "float32", "weights": "a"}
        assert not (tmp_path / "anchors.parquet").exists()
        part = io.join(scores.folder(out_dir), "part-x.parquet")
        io.write_table(part, pa.table({"example_id": ["a"]}))
        with pytest.raises(UserError, match=r"dtype \(was float32, now bfloat16\)"):
            claim(run, {"dtype": "bfloat16", "weights": "a"})
        claim(run, {"dtype": "float32", "weights": "a"})


def test_kmeans_without_a_model_that_transformers_can_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no_such_type"}')
    config = Config(model=ModelConfig(path=str(tmp_path)), score=ScoreConfig(backend="vllm"))
    setup = Setup(config, "try", "cpu", "float32", "alpaca", 100, 0.0)
    monkeypatch.setattr(anchors, "_examples", lambda setup, ids: [])
    with pytest.raises(UserError, match="anchors=kmeans .*no_such_type.*take anchors=random"):
        anchors._kmeans(setup, [], None)


def test_a_signal_to_the_driver_s_group_spares_ray(shared_ray: None) -> None:
    started = psutil.Process().children()
    names = {process.name() for process in started}
    assert {"gcs_server", "raylet"} <= names
    of_ray = [process.pid for process in started if process.name() in ("gcs_server", "raylet")]
    assert all(os.getpgid(pid) != os.getpgid(0) for pid in of_ray)
