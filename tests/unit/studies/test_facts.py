"""What is known of the run that is studied."""

from dataclasses import replace
from pathlib import Path

import pytest
from studied_run import factor_deltas, studied_run

from nuggets_ray.errors import UserError
from nuggets_ray.run.anchors import read_anchors, write_anchors
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.studies.facts import run_facts


def test_the_run_is_told_by_its_model_its_data_and_its_anchors(tmp_path: Path) -> None:
    facts = run_facts(studied_run(str(tmp_path), factor_deltas(20, 4)), 7)
    assert facts["model"] == "/models/m, float32, alpaca"
    assert facts["data"] == "/data/rows.jsonl" and facts["seed"] == "7"
    assert facts["anchor rule"] == "file /data/anchors.jsonl" and "anchor sets" not in facts


def test_a_folder_without_scores_is_told_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no scores yet: run jobs/score.py"):
        run_facts(str(tmp_path), 0)


def test_several_anchor_sets_are_named(tmp_path: Path) -> None:
    out_dir = studied_run(str(tmp_path), factor_deltas(20, 4))
    uri = RunFolder(out_dir).anchors
    anchors, zero_shot_A = read_anchors(uri)
    named = [replace(one, anchor_set="ab"[n // 3]) for n, one in enumerate(anchors)]
    write_anchors(uri, named, zero_shot_A)
    assert run_facts(out_dir, 0)["anchor sets"] == "a (3), b (1)"
