"""What a run cost, from its folder."""

import json
from pathlib import Path

import numpy as np
import pytest
from studied_run import factor_deltas, studied_run, timed

from nuggets_ray import io
from nuggets_ray.errors import UserError
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.studies.run_costs import read_costs


@pytest.fixture
def out_dir(tmp_path: Path) -> str:
    return studied_run(str(tmp_path), factor_deltas(40, 6))


def test_the_rate_is_that_of_the_tokens_that_were_computed(out_dir: str) -> None:
    timed(out_dir, [0.0, 10.0, 20.0], [0, 15, 40])
    costs = read_costs(out_dir)
    assert len(costs.demo_tokens_N) == 40, "a copy is computed once"
    assert costs.demo_tokens_N.mean() == pytest.approx(15 + np.mean([n % 20 for n in range(40)]))
    assert costs.anchor_tokens_A.tolist() == [2] * 6
    assert costs.full_tokens == pytest.approx(costs.demo_tokens_N.mean() + 12)
    assert costs.progress_P2.tolist() == [[15, 20], [40, 40]]
    assert costs.tokens_per_s == pytest.approx(40 * costs.full_tokens / 40)
    assert (costs.num_measured, costs.measured_s, costs.num_workers) == (40, 40, 2)
    assert costs.tokens_of(np.array(["c00003", "c00021"])).tolist() == [18, 16]
    assert costs.worker_gib is None and costs.ids_bytes > 0


def test_an_attempt_that_went_on_counts_what_it_computed(out_dir: str) -> None:
    timed(out_dir, [5.0, 10.0], [30, 40])
    manifest = json.loads(io.read_bytes(RunFolder(out_dir).manifest))
    manifest["stages"]["score"]["attempts"][0]["num_reused"] = 20
    io.write_json(RunFolder(out_dir).manifest, manifest)
    assert read_costs(out_dir).progress_P2.tolist() == [[10, 10], [20, 20]]


def test_what_was_not_timed_is_calibrated_or_refused(out_dir: str) -> None:
    with pytest.raises(UserError, match="says nothing of how fast"):
        read_costs(out_dir)
    manifest = json.loads(io.read_bytes(RunFolder(out_dir).manifest))
    io.write_json(RunFolder(out_dir).manifest, {**manifest, "calibration": {"tokens_per_s": 7.0}})
    costs = read_costs(out_dir)
    assert costs.tokens_per_s == 7 and costs.num_measured == 0


def test_a_race_is_not_timed_as_full_scoring(out_dir: str) -> None:
    timed(out_dir, [5.0, 10.0], [20, 40])
    manifest = json.loads(io.read_bytes(RunFolder(out_dir).manifest))
    manifest |= {"calibration": {"tokens_per_s": 7.0}, "race": {"top_k": 4}}
    io.write_json(RunFolder(out_dir).manifest, manifest)
    costs = read_costs(out_dir)
    assert costs.is_race and costs.tokens_per_s == 7 and len(costs.progress_P2) == 0


def test_memory_is_what_the_plan_found(out_dir: str) -> None:
    timed(out_dir, [5.0], [20])
    plan = {"memory": {"predicted_gib_a_worker": 1.5, "peak_gib_a_worker": 1.25}}
    io.write_json(RunFolder(out_dir).plan, plan)
    assert read_costs(out_dir).worker_gib == 1.25
