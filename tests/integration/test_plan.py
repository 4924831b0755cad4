"""What the plan says is what the run then does, and the plan leaves the folder free for any run."""

import json
import shutil
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from score_runs import manifest_of, read_scores, result_of, run_job, write_rows

from nuggets_ray.config.compose import load
from nuggets_ray.errors import UserError
from nuggets_ray.run.anchors import read_anchors
from nuggets_ray.score.calibrate import Measured
from nuggets_ray.score.plan import format_facts
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.score import plan as stage

NUM_GOOD = 24
MAX_DEMONSTRATION_TOKENS = 400
MAX_ANCHOR_TOKENS = 300
CONTEXT_TOKENS = 660
PRICE_PER_HOUR = 3.5


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 good rows, a copy of the first, 2 bad ones, 2 too long, 1 too long behind an anchor."""
    path = write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl", NUM_GOOD)
    lines = path.read_text(encoding="utf-8").splitlines()
    lines += [
        json.dumps(json.loads(lines[0]) | {"tag": "copy"}),
        '{"instruction": "cut',
        json.dumps({"instruction": "nothing follows", "output": ""}),
        *(json.dumps({"instruction": f"long {i}", "output": "x" * 500}) for i in range(2)),
        json.dumps({"instruction": "nearly too long", "output": "x" * 220}),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a short context (a token is a byte)."""
    folder = tmp_path_factory.mktemp("model") / "short"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    config["max_position_embeddings"] = CONTEXT_TOKENS
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def overrides(data: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [
        f"data.path={data}",
        f"model.path={model}",
        f"out_dir={tmp_path_factory.mktemp('run') / 'out'}",
        f"prompt.max_demonstration_tokens={MAX_DEMONSTRATION_TOKENS}",
        f"prompt.max_anchor_tokens={MAX_ANCHOR_TOKENS}",
        "anchors.num=10",
        "score.dtype=float32",
        "cluster.address=local",
        "cluster.num_workers=1",
        "cluster.object_store_gib=0.15",
    ]


def out_dir_of(overrides: list[str]) -> Path:
    [out_dir] = [o.partition("=")[2] for o in overrides if o.startswith("out_dir=")]
    return Path(out_dir)


@pytest.fixture(scope="module")
def planned(overrides: list[str]) -> dict[str, Any]:
    """plan.json, and nothing in the folder that would hold a run to these settings."""
    ended = run_job("plan", *overrides, f"plan.price_per_hour={PRICE_PER_HOUR}")
    out_dir = out_dir_of(overrides)
    result = result_of(ended)
    assert result == {"wrote": [str(out_dir / "plan.json")], "status": "done", "num_rows": 30}
    manifest = manifest_of(out_dir)
    assert "fingerprint" not in manifest
    assert manifest["stages"]["plan"]["status"] == "done" and "score" not in manifest["stages"]
    names = {path.name for path in out_dir.iterdir()}
    assert not names & {"scores", "anchors.parquet", "lease.json", "metrics", "preview.jsonl"}
    facts: dict[str, Any] = json.loads((out_dir / "plan.json").read_text(encoding="utf-8"))
    assert format_facts(facts) in ended.stdout
    return facts


@pytest.fixture(scope="module")
def scored(planned: dict[str, Any], overrides: list[str]) -> Path:
    """The run that the plan was made for, in the same folder."""
    result = result_of(run_job("score", *overrides))
    counts = [result[f"num_{name}"] for name in ("rows", "scored", "skipped", "excluded")]
    assert counts == [30, 25, 5, 0]
    return out_dir_of(overrides)


def test_the_plan_counts_what_was_read_and_shows_what_was_skipped(
    planned: dict[str, Any], data: Path
) -> None:
    facts = planned["data"]
    assert facts["format"] == "alpaca"
    counts = {key: facts[key] for key in facts if key.startswith("num_")}
    assert counts == {
        "num_rows": 30,
        "num_candidates": 26,
        "num_duplicates": 1,
        "num_held_out": 0,
        "num_skipped": 4,
    }
    assert facts["skipped: invalid_json"] == f"1, such as row 25 of {data}"
    assert facts["skipped: empty_answer"] == f"1, such as row 26 of {data}"
    assert facts["skipped: too_long"] == f"2, such as row 27 of {data}; row 28 of {data}"
    assert planned["prompt"]["template"] == "alpaca (prompt.template=auto)"
    assert planned["prompt"]["model_context_tokens"] == CONTEXT_TOKENS
    assert planned["out_dir"]["num_scored_already"] == 0
    assert planned["out_dir"]["scored_as"] is None
    memory = planned["memory"]
    assert memory["parameters"] > 0
    assert 0.5 < memory["predicted_gib_a_worker"] / memory["peak_gib_a_worker"] < 1.5


def test_the_run_computes_the_tokens_that_the_plan_told(
    planned: dict[str, Any], scored: Path
) -> None:
    rows = [row for row in read_scores(scored).values() if row["example_id"] == row["content_id"]]
    anchors = [anchor.encoding for anchor in read_anchors(str(scored / "anchors.parquet"))[0]]
    cost = planned["cost"]
    assert cost["num_candidates_to_score"] == len(rows) == 24
    assert cost["num_passes"] == len(rows) * len(anchors) == 240
    num_anchor_tokens = sum(anchor.num_tokens for anchor in anchors)
    num_tokens = sum(row["num_prompt_tokens"] + row["num_answer_tokens"] for row in rows)
    assert cost["num_tokens"] == num_tokens + len(rows) * num_anchor_tokens
    assert cost["flop"] > 2 * cost["num_tokens"]
    assert cost["worker_hours"] == cost["device_hours"] == cost["hours"] > 0  # of one core
    assert cost["price"] == pytest.approx(PRICE_PER_HOUR * cost["device_hours"])
    assert cost["hours"] * 3600 == pytest.approx(cost["num_tokens"] / cost["tokens_per_s_a_worker"])


def test_the_run_takes_the_anchors_that_the_plan_told(
    planned: dict[str, Any], scored: Path
) -> None:
    anchors = [anchor.encoding for anchor in read_anchors(str(scored / "anchors.parquet"))[0]]
    scores = read_scores(scored).values()
    assert planned["anchors"] == {
        "num_anchors": 10,
        "num_tokens": sum(anchor.num_tokens for anchor in anchors),
        "num_answer_tokens": sum(anchor.num_answer_tokens for anchor in anchors),
        "max_tokens": MAX_ANCHOR_TOKENS,
        "num_truncated": sum(anchor.num_dropped_tokens > 0 for anchor in anchors),
        "num_self_pairs": sum(row["self_anchor_index"] is not None for row in scores),
        "num_excluded": 0,
    }
    assert planned["anchors"]["num_self_pairs"] >= 9 and planned["anchors"]["num_truncated"] > 0


def test_the_run_skips_what_the_plan_told(planned: dict[str, Any], scored: Path) -> None:
    reasons = Counter(pq.read_table(scored / "skipped.parquet")["reason"].to_pylist())
    told = planned["demonstrations"]
    assert told["limit_tokens"] == CONTEXT_TOKENS - MAX_ANCHOR_TOKENS
    assert told["num_too_long_for_context"] == reasons["too_long_for_context"] == 1
    assert told["num_truncated"] == 0
    assert reasons == {
        "invalid_json": 1, "empty_answer": 1, "too_long": 2, "too_long_for_context": 1
    }  # fmt: skip


def test_the_manifest_holds_predicted_and_actual_seconds(scored: Path) -> None:
    manifest = manifest_of(scored)
    [attempt] = manifest["stages"]["score"]["attempts"]
    assert attempt["predicted_s"] >= 0 and attempt["actual_s"] >= 0
    assert manifest["calibration"]["tokens_per_s"] > 0
    assert manifest["fingerprint"]["dtype"] == "float32"


@pytest.fixture
def again(scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the scored folder, where a plan needs no Ray: nothing is to be read or chosen."""
    shutil.copytree(scored, tmp_path / "out")
    engine = {"engine": "tree", "why": "-", "max_pack_tokens": 4096}
    measured = Measured(np.zeros(10), 1e3, engine, 0.1)
    monkeypatch.setattr(stage, "connected", lambda config: nullcontext(Workers(1, 0.0, 1)))
    monkeypatch.setattr(stage, "check_shared_folder", lambda out_dir: None)
    monkeypatch.setattr(stage, "measure", lambda *arguments: measured)
    return tmp_path / "out"


def test_a_plan_for_a_scored_folder_keeps_its_anchors_and_has_nothing_to_score(
    again: Path, planned: dict[str, Any], overrides: list[str]
) -> None:
    stage.plan(load([*overrides, f"out_dir={again}"]))
    facts = json.loads((again / "plan.json").read_text(encoding="utf-8"))
    assert facts["anchors"] == planned["anchors"]
    assert facts["out_dir"]["num_scored_already"] == 25
    assert facts["out_dir"]["scored_as"].startswith("float32, alpaca ")
    cost = facts["cost"]
    assert (cost["num_candidates_to_score"], cost["num_tokens"], cost["flop"]) == (0, 0, 0.0)


def test_a_plan_with_other_settings_leaves_a_scored_folder_as_it_is(
    again: Path, overrides: list[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in again.glob("*/*.parquet")}
    with pytest.raises(UserError, match=r"template .*give another out_dir"):
        stage.plan(load([*overrides, f"out_dir={again}", "prompt=official"]))
    assert {path: path.stat().st_mtime_ns for path in again.glob("*/*.parquet")} == before
