"""A race among rows of every kind: copies, rows that are anchors, a row too long, a row that kills
its worker; with another prompt and another engine.
"""

import importlib.util
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from faulty_workers import KILLS_ITS_WORKER, run_faulty
from score_runs import result_of, run_job, run_process, score_overrides, write_rows

from nuggets_ray import open_run

NUM_ROWS, NUM_COPIES, NUM_ANCHORS, TOP_K = 420, 9, 48, 12
RACE = ("schedule=race", f"race.top_k={TOP_K}", "score.block_s=2")
KEPT = ("anchors.exclude_from_candidates=false", f"anchors.num={NUM_ANCHORS}")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good rows, copies of the last of them, and one of 600 words."""
    path = write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl", NUM_ROWS)
    lines = path.read_text().splitlines()
    long = {"instruction": "Go on.", "output": "word " * 600}
    path.write_text("\n".join([*lines, *lines[-NUM_COPIES:], json.dumps(long)]) + "\n")
    return path


def scores_of(out_dir: Path) -> dict[str, dict[str, Any]]:
    table = open_run(str(out_dir)).scores()
    return {row["example_id"]: row for row in table.to_pylist()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prompt", "num_self_pairs"),
    # the official script scores a row on itself too
    [("alpaca", NUM_ANCHORS), ("official", 0)],
)
def test_every_row_is_raced_or_told(
    rows: Path,
    tiny_model: Path,
    tmp_path: Path,
    prompt: str,
    num_self_pairs: int,
    shared_ray: None,
) -> None:
    same = (*KEPT, f"prompt={prompt}", "prompt.max_demonstration_tokens=400")
    raced, full = tmp_path / "raced", tmp_path / "full"
    overrides = score_overrides(rows, tiny_model, raced, *RACE, *same)
    del overrides[overrides.index("cluster.address=local")]
    ended = run_faulty(KILLS_ITS_WORKER, tmp_path, *overrides)
    assert result_of(ended)["num_skipped"] == 2
    skipped = pq.read_table(raced / "skipped.parquet").to_pylist()
    assert {(row["row_number"], row["reason"]) for row in skipped} == {
        (77, "killed_worker"),
        (NUM_ROWS + NUM_COPIES, "too_long"),
    }
    assert run_job("score", *score_overrides(rows, tiny_model, full, *same)).returncode == 0
    scores, truth = scores_of(raced), scores_of(full)
    assert set(truth) - set(scores) == {
        row["example_id"] for row in truth.values() if row["row_number"] == 77
    }
    statuses = Counter(row["status"] for row in scores.values())
    assert set(statuses) == {"complete", "eliminated"}
    for name, row in scores.items():
        assert row["self_anchor_index"] == truth[name]["self_anchor_index"]
        if row["status"] == "complete":
            assert row["num_anchors"] == NUM_ANCHORS - (row["self_anchor_index"] is not None)
            assert row["golden_score"] == pytest.approx(
                truth[name]["golden_score"], abs=1.5 / NUM_ANCHORS
            )
    distinct = {row["content_id"]: row for row in scores.values()}.values()
    assert sum(row["self_anchor_index"] is not None for row in distinct) in (
        num_self_pairs,
        max(num_self_pairs - 1, 0),  # the row that was lost may have been one
    )
    by_content: dict[str, set[Any]] = {}
    for row in scores.values():
        by_content.setdefault(row["content_id"], set()).add((row["golden_score"], row["status"]))
    assert len(scores) - len(by_content) == NUM_COPIES
    assert all(len(told) == 1 for told in by_content.values()), "copies share what is known"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed")
def test_vllm_races_as_the_tree_does(rows: Path, vllm_model: Path, tmp_path: Path) -> None:
    best: list[set[str]] = []
    for backend in ("vllm", "transformers"):
        out_dir = tmp_path / backend
        overrides = score_overrides(rows, vllm_model, out_dir, *RACE, f"anchors.num={NUM_ANCHORS}")
        one = [o.replace("num_workers=2", "num_workers=1") for o in overrides]
        result_of(run_process("score", *one, f"score.backend={backend}"))
        complete = [row for row in scores_of(out_dir).values() if row["status"] == "complete"]
        ranked = sorted(complete, key=lambda row: (-row["golden_score"], -row["mean_delta"]))
        best.append({row["example_id"] for row in ranked[:TOP_K]})
        log_probs = open_run(str(out_dir)).matrix().one_shot_NA
        assert np.isnan(log_probs).any() and np.isfinite(log_probs).any()
    assert len(best[0] & best[1]) >= TOP_K - 2
