"""A worker process from start to end: what it answers, and how it tells that it cannot."""

import os
from pathlib import Path

import numpy as np
import pytest
from tiny_models import make_anchor, random_ids

from nuggets_ray.bench.process import WorkerFailed, WorkerProcess
from nuggets_ray.bench.task import NotMeasured, Task
from nuggets_ray.bench.workload import Workload
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.model.load import load_model
from nuggets_ray.score.reference import reference_log_probs

WORK = Workload("uncut-7", (random_ids(0, 7), random_ids(1, 7)), (make_anchor(2, 3, 4),))


def make_task(kind: str, model: Path | str) -> Task:
    return Task(kind, "float32", str(model), None, False, "cpu", 1, None, (WORK.to_json(),))


@pytest.mark.long
def test_a_worker_scores_rates_and_profiles(tiny_model: Path) -> None:
    worker = WorkerProcess(make_task("tree", tiny_model))
    try:
        run = worker.run("uncut-7", [1, 0])
        rate = worker.rate("uncut-7", [0])
        profile = worker.profile("uncut-7", [0])
    finally:
        pid = worker.pid
        worker.close()
    assert not os.path.exists(f"/proc/{pid}")
    model = load_model(ModelConfig(path=str(tiny_model)), "float32", "cpu")
    wanted = reference_log_probs(model, WORK.anchors, WORK.prefixes)[[1, 0]]
    np.testing.assert_allclose(run.log_probs_CA, wanted, atol=1e-4)
    assert run.cost.cpu_s > 0 and run.cost.wall_s > 0 and 0.01 < run.cost.peak_gib < 50
    assert run.useful_flop and run.useful_flop > 0
    assert 0 < rate["in_turn"] <= rate["mean"]
    assert len(profile) == 5


@pytest.mark.long
def test_a_model_that_does_not_load_and_a_process_that_dies_are_told(tmp_path: Path) -> None:
    with pytest.raises(NotMeasured, match="model.path"):
        WorkerProcess(make_task("tree", tmp_path))
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\necho out of luck >&2\nexit 3\n")
    dying.chmod(0o755)
    with pytest.raises(WorkerFailed, match="code 3: out of luck"):
        WorkerProcess(make_task("tree", tmp_path), python=str(dying))
