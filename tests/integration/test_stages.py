"""Decisions of the stages that no small cluster shows: capacity, when a fingerprint binds."""

from pathlib import Path

import pyarrow as pa
import pytest

from nuggets_ray import io, score_table
from nuggets_ray.config import UserError
from nuggets_ray.manifest import Run
from nuggets_ray.stages.baseline import claim
from nuggets_ray.stages.cluster import _capacity


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
        part = io.join(score_table.folder(out_dir), "part-x.parquet")
        io.write_table(part, pa.table({"example_id": ["a"]}))
        with pytest.raises(UserError, match=r"dtype \(was float32, now bfloat16\)"):
            claim(run, {"dtype": "bfloat16", "weights": "a"})
        claim(run, {"dtype": "float32", "weights": "a"})
