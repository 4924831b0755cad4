"""schedule=race as a user runs it: the winners of full scoring, after kills too."""

import json
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
from nuggets_ray.run.rounds import read_rounds
from nuggets_ray.run.scores import read_scores

NUM_ROWS, NUM_ANCHORS, TOP_K = 420, 48, 12
RACE = ("schedule=race", f"race.top_k={TOP_K}", f"anchors.num={NUM_ANCHORS}", "score.block_s=2")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl", NUM_ROWS)


@pytest.fixture(scope="module")
def raced(
    data: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, shared_ray: None
) -> Path:
    out_dir = tmp_path_factory.mktemp("raced")
    done = run_job("score", *score_overrides(data, tiny_model, out_dir, *RACE))
    assert done.returncode == 0, done.stderr
    return out_dir


def scores_of(out_dir: Path) -> dict[str, dict[str, Any]]:
    rows = (row for table in read_scores(str(out_dir)) for row in table.to_pylist())
    return {row["content_id"]: row for row in rows}


def best(scores: dict[str, dict[str, Any]]) -> list[str]:
    complete = [row for row in scores.values() if row["status"] == "complete"]
    ranked = sorted(complete, key=lambda row: (-row["golden_score"], -row["mean_delta"]))
    return [row["content_id"] for row in ranked[:TOP_K]]


def test_the_best_are_kept_for_fewer_passes_and_the_run_says_so(raced: Path) -> None:
    scores, manifest = scores_of(raced), open_run(str(raced)).manifest
    race = manifest["race"]
    assert len(scores) == NUM_ROWS
    statuses = [row["status"] for row in scores.values()]
    assert statuses.count("complete") == race["num_complete"] < NUM_ROWS
    assert race["num_passes"] < race["num_passes_full"]
    assert race["expected_recall"] >= 0.95
    for row in scores.values():
        is_complete = row["status"] == "complete"
        assert (row["golden_score"] is not None) == is_complete
        assert np.isfinite(row["one_shot_logprob"]).all() == is_complete


def test_full_scoring_afterwards_computes_what_is_missing_and_names_the_same_best(
    raced: Path, data: Path, tiny_model: Path, tmp_path: Path, shared_ray: None
) -> None:
    before = scores_of(raced)
    kept = [row for row in before.values() if row["status"] == "complete"]
    full = ("schedule=full", f"anchors.num={NUM_ANCHORS}")
    done = run_job("score", *score_overrides(data, tiny_model, tmp_path, *full))
    assert done.returncode == 0, done.stderr
    truth = scores_of(tmp_path)
    for row in kept:
        other = truth[row["content_id"]]
        assert row["golden_score"] == pytest.approx(other["golden_score"], abs=1 / NUM_ANCHORS)
        assert np.allclose(row["one_shot_logprob"], other["one_shot_logprob"], atol=1e-4)
    bar = truth[best(truth)[-1]]["golden_score"]
    assert sum(truth[i]["golden_score"] >= bar for i in best(before)) >= TOP_K - 1


def test_a_killed_race_goes_on_with_another_number_of_workers(
    raced: Path, data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    overrides = score_overrides(data, tiny_model, tmp_path, *RACE)
    for number in (2, 5):
        process = subprocess.Popen(command("score", *overrides), stderr=subprocess.DEVNULL)
        folder = Path(RunFolder(str(tmp_path)).round(number).path)
        while process.poll() is None and not list(folder.glob("part-*")):
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
    more = [o.replace("num_workers=2", "num_workers=1") for o in overrides]
    done = subprocess.run(command("score", *more), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(scores_of(tmp_path)) == NUM_ROWS
    assert len(set(best(scores_of(tmp_path))) & set(best(scores_of(raced)))) >= TOP_K - 1


def test_the_same_call_again_computes_nothing_and_a_larger_top_goes_on(
    raced: Path, data: Path, tiny_model: Path, shared_ray: None
) -> None:
    num_rounds = len(read_rounds(str(raced)))
    overrides = score_overrides(data, tiny_model, raced, *RACE)
    assert run_job("score", *overrides).returncode == 0
    assert len(read_rounds(str(raced))) == num_rounds
    more = [o.replace(f"top_k={TOP_K}", "top_k=40") for o in overrides]
    assert run_job("score", *more).returncode == 0
    assert len(read_rounds(str(raced))) > num_rounds
    assert open_run(str(raced)).manifest["race"]["top_k"] == 40
    assert len(scores_of(raced)) == NUM_ROWS


def test_past_what_was_settled_a_selection_is_refused_with_the_way_out(
    raced: Path, shared_ray: None
) -> None:
    settled = open_run(str(raced)).manifest["race"]["top_k"]
    past = run_job("select_topk", f"out_dir={raced}", "select=top_k", f"select.k={settled + 1}")
    assert past.returncode == 2 and f"race.top_k={settled + 1}" in past.stderr
    worst = run_job(
        "select_topk", f"out_dir={raced}", "select.order=bottom", "select.fraction=0.01"
    )
    assert worst.returncode == 2 and "posterior_score" in worst.stderr
    within = run_job("select_topk", f"out_dir={raced}", "select=top_k", f"select.k={TOP_K}")
    assert within.returncode == 0, within.stderr


def test_where_nothing_is_to_gain_all_is_scored_and_it_is_said(
    tiny_model: Path, tmp_path: Path, shared_ray: None
) -> None:
    few = write_rows(tmp_path / "few.jsonl", 12)
    out_dir = tmp_path / "out"
    done = run_job("score", *score_overrides(few, tiny_model, out_dir, "schedule=race"))
    assert done.returncode == 0
    assert "nothing to gain" in done.stderr and "12 candidates are fewer than 400" in done.stderr
    assert json.loads((out_dir / "manifest.json").read_text())["race"]["fell_back"]
    assert {row["status"] for row in scores_of(out_dir).values()} == {"complete"}


def test_a_plan_shows_the_race_beside_full_scoring(
    data: Path, tiny_model: Path, tmp_path: Path, shared_ray: None
) -> None:
    done = run_job("plan", *score_overrides(data, tiny_model, tmp_path, *RACE))
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "plan.json").read_text())
    assert told["cost"]["of"] == "full scoring"
    passes = told["race"]["num_passes"]
    assert passes["race_low"] < passes["race_high"] < passes["full"]
    assert passes["full"] == told["cost"]["num_passes"] == NUM_ROWS * NUM_ANCHORS
    assert f"the best {TOP_K} of {NUM_ROWS} rows" in done.stdout
    assert "(full scoring: " in done.stdout and "two anchor sets" in done.stdout


def test_the_funnel_the_promise_and_the_time_are_told(raced: Path, shared_ray: None) -> None:
    race = open_run(str(raced)).manifest["race"]
    assert race["at"][-1]["top_k"] == race["top_k"]
    assert 0 < race["at"][-1]["agreement"]["agreement"] <= 1
    assert race["held_out"]["covered"] > 0.8 and race["survivors"]["num_predictions"] > 0
    assert race["times"]["num_rounds"] >= len(race["rounds"]) - 1
    assert 0 <= race["times"]["waited_s"] <= race["times"]["seconds"]
    status = run_job("status", f"out_dir={raced}")
    lines = status.stdout.splitlines()
    assert any(line.startswith("rounds") and "left behind" in line for line in lines)
    assert "two anchor sets of this size agree on only" in status.stdout
    as_json = run_job("status", f"out_dir={raced}", "status.json=true")
    told = json.loads(as_json.stdout.splitlines()[-1])
    assert told["rounds"][0]["phase"] == "pilot" and told["race"]["top_k"] == race["top_k"]
    assert told["rounds"][-1]["num_passes_so_far"] == race["num_passes"]
    chosen = run_job("select_topk", f"out_dir={raced}", "select=top_k", f"select.k={TOP_K}")
    assert f"The race settled the best {race['top_k']}" in chosen.stdout
    assert "two anchor sets of this size agree on only" in chosen.stdout
    record = json.loads((raced / "selections" / "golden" / "selection.json").read_text())
    assert record["race"]["settled"] == race["top_k"]


def test_the_log_ends_with_what_was_promised(
    data: Path, tiny_model: Path, raced: Path, shared_ray: None
) -> None:
    again = run_job("score", *score_overrides(data, tiny_model, raced, *RACE))
    assert again.returncode == 0
    last = again.stderr[again.stderr.rindex("scored ") :]
    for part in ("two anchor sets of this size agree on only", "it rests on", "times fewer"):
        assert part in last


@pytest.mark.slow
def test_a_pipeline_under_race_takes_its_bottom_by_posterior_score(
    data: Path, tiny_model: Path, tmp_path: Path, shared_ray: None
) -> None:
    overrides = score_overrides(data, tiny_model, tmp_path, *RACE, "race.pilot=110")
    select = ("select=top_k", f"select.k={TOP_K}")
    done = run_job("pipeline", *overrides, *select)
    assert done.returncode == 0, done.stderr
    assert "bottom is of the lowest posterior scores" in done.stderr
    for name, by in (("golden", "golden_score"), ("bottom", "posterior_score")):
        record = json.loads((tmp_path / "selections" / name / "selection.json").read_text())
        assert (record["settings"]["by"], record["num_rows"]) == (by, TOP_K)
    assert {"longest", "random-0"} <= {path.name for path in (tmp_path / "selections").iterdir()}
    shown = run_job("show", f"out_dir={tmp_path}", "show.order=bottom", "show.num=400")
    assert shown.returncode == 0 and "left behind by a race" in shown.stdout
    assert "no golden score (not held against every anchor)" in shown.stdout
