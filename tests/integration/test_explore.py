"""schedule=explore as a user runs it: a ranking without golden scores, after a kill too, and a race
that goes on from it."""

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from score_runs import command, run_job, score_overrides, write_rows

from nuggets_ray import open_run
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.posterior import read_posterior
from nuggets_ray.run.rounds import read_answers, read_rounds
from nuggets_ray.run.scores import read_scores

NUM_ROWS, NUM_ANCHORS, NUM_MET, NUM_PILOT = 420, 48, 12, 100
ANCHORS = (f"anchors.num={NUM_ANCHORS}", "score.block_s=2")
EXPLORE = ("schedule=explore", f"explore.num_anchors={NUM_MET}", *ANCHORS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl", NUM_ROWS)


@pytest.fixture(scope="module")
def explored(
    data: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, shared_ray: None
) -> Path:
    out_dir = tmp_path_factory.mktemp("explored")
    done = run_job("score", *score_overrides(data, tiny_model, out_dir, *EXPLORE))
    assert done.returncode == 0, done.stderr
    assert "ranked by posterior_score, no golden scores" in done.stderr
    return out_dir


def scores_of(out_dir: Path) -> dict[str, dict[str, Any]]:
    rows = (row for table in read_scores(str(out_dir)) for row in table.to_pylist())
    return {row["content_id"]: row for row in rows}


def num_passes(out_dir: Path) -> int:
    """What all rounds computed."""
    return sum(
        answers.one_shot_NS.size
        for decided in read_rounds(str(out_dir))
        for answers in read_answers(str(out_dir), decided.number)
    )


def test_every_row_has_a_posterior_score_and_only_the_pilot_a_golden_one(explored: Path) -> None:
    scores, manifest = scores_of(explored), open_run(str(explored)).manifest
    assert len(scores) == NUM_ROWS
    statuses = [row["status"] for row in scores.values()]
    assert statuses.count("complete") == NUM_PILOT
    assert statuses.count("explored") == NUM_ROWS - NUM_PILOT
    for row in scores.values():
        num_met = int(np.isfinite(row["one_shot_logprob"]).sum())
        is_pilot = row["status"] == "complete"
        assert num_met == (NUM_ANCHORS if is_pilot else NUM_MET)
        assert (row["golden_score"] is not None) == is_pilot
    posterior = read_posterior(str(explored), np.array(list(scores)))
    assert posterior is not None and np.isfinite(posterior).all() and np.ptp(posterior) > 0
    passes = NUM_PILOT * NUM_ANCHORS + (NUM_ROWS - NUM_PILOT) * NUM_MET
    assert manifest["explore"]["num_passes"] == num_passes(explored) == passes


def test_selecting_by_golden_score_is_refused_with_the_way_out(
    explored: Path, shared_ray: None
) -> None:
    refused = run_job("select_topk", f"out_dir={explored}")
    assert refused.returncode == 2
    assert "take select.by=posterior_score" in refused.stderr and "schedule=race" in refused.stderr
    for more in ((), ("select.order=bottom",)):
        done = run_job("select_topk", f"out_dir={explored}", "select.by=posterior_score", *more)
        assert done.returncode == 0, done.stderr
    status = run_job("status", f"out_dir={explored}")
    assert any(
        line.startswith("explore") and "no golden scores" in line
        for line in status.stdout.splitlines()
    )


@pytest.mark.slow
def test_a_killed_one_goes_on_to_the_same_scores(
    explored: Path, data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    overrides = score_overrides(data, tiny_model, tmp_path, *EXPLORE)
    process = subprocess.Popen(command("score", *overrides), stderr=subprocess.DEVNULL)
    folder = Path(RunFolder(str(tmp_path)).round(1).path)
    while process.poll() is None and not list(folder.glob("part-*")):
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    early = run_job("select_topk", f"out_dir={tmp_path}")
    assert early.returncode == 2 and "no golden scores" in early.stderr
    fewer = [o.replace("num_workers=2", "num_workers=1") for o in overrides]
    done = subprocess.run(command("score", *fewer), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ours, theirs = scores_of(tmp_path), scores_of(explored)
    assert ours.keys() == theirs.keys()
    for content_id, row in ours.items():
        other = theirs[content_id]
        assert row["status"] == other["status"]
        assert np.allclose(
            row["one_shot_logprob"], other["one_shot_logprob"], atol=1e-4, equal_nan=True
        )


def test_a_race_goes_on_from_it_and_a_pipeline_says_what_it_needs(
    explored: Path, data: Path, tiny_model: Path, shared_ray: None
) -> None:
    before, num_rounds = num_passes(explored), len(read_rounds(str(explored)))
    overrides = score_overrides(data, tiny_model, explored, *EXPLORE)
    assert run_job("score", *overrides).returncode == 0
    assert len(read_rounds(str(explored))) == num_rounds and num_passes(explored) == before
    refused = run_job("pipeline", *overrides)
    assert refused.returncode == 2 and "add select.by=posterior_score" in refused.stderr
    piped = run_job("pipeline", *overrides, "select.by=posterior_score")
    assert piped.returncode == 0, piped.stderr
    assert "bottom is of the lowest posterior scores" in piped.stderr
    race = ("schedule=race", "race.top_k=12", *ANCHORS)
    done = run_job("score", *score_overrides(data, tiny_model, explored, *race))
    assert done.returncode == 0, done.stderr
    manifest, statuses = open_run(str(explored)).manifest, scores_of(explored).values()
    assert manifest["race"]["top_k"] == 12 and "explore" not in manifest
    assert {row["status"] for row in statuses} == {"complete", "eliminated"}
    full = NUM_ROWS * NUM_ANCHORS
    assert before < num_passes(explored) == manifest["race"]["num_passes"] < full
    chosen = run_job("select_topk", f"out_dir={explored}", "select=top_k", "select.k=12")
    assert chosen.returncode == 0, chosen.stderr


def test_where_nothing_is_to_gain_all_is_scored_and_it_is_said(
    tiny_model: Path, tmp_path: Path, shared_ray: None
) -> None:
    few = write_rows(tmp_path / "few.jsonl", 12)
    out_dir = tmp_path / "out"
    explore = ("schedule=explore", "explore.num_anchors=5")
    done = run_job("score", *score_overrides(few, tiny_model, out_dir, *explore))
    assert done.returncode == 0
    assert "nothing to gain" in done.stderr and "12 candidates are fewer than 400" in done.stderr
    assert {row["status"] for row in scores_of(out_dir).values()} == {"complete"}


def test_a_plan_tells_its_passes(
    data: Path, tiny_model: Path, tmp_path: Path, shared_ray: None
) -> None:
    done = run_job("plan", *score_overrides(data, tiny_model, tmp_path, *EXPLORE))
    assert done.returncode == 0, done.stderr
    assert "8,640 (full scoring: 20,160)" in done.stdout and "no golden scores" in done.stdout
