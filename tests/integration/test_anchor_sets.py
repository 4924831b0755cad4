"""Several anchor sets in one run, and anchors added to a run that is scored: only what is new is
computed.
"""

import contextlib
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from score_runs import (
    command,
    environment,
    manifest_of,
    read_scores,
    result_of,
    run_job,
    score_overrides,
    write_rows,
)

NUM_ROWS, NUM_FIRST = 30, 24
SETS = "maths: {{path: {0}/maths.jsonl}}, writing: {{path: {0}/writing.jsonl, num: 3}}"
THIRD = "mixed: {{method: stratified, clusters: 2, num: 2}}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows, and anchors of two sets: the last of maths is the first of writing too."""
    folder = tmp_path_factory.mktemp("sets")
    write_rows(folder / "rows.jsonl", NUM_ROWS)
    maths, writing = (
        [{"instruction": f"{name} {i}?", "output": f"It is {i}."} for i in range(4)]
        for name in ("Count", "Write")
    )
    write_anchors(folder / "maths.jsonl", maths)
    write_anchors(folder / "writing.jsonl", [maths[-1], *writing])
    return folder


def write_anchors(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def overrides_of(folder: Path, model: Path, out_dir: Path, *sets: str) -> list[str]:
    named = ", ".join(sets).format(folder)
    overrides = score_overrides(folder / "rows.jsonl", model, out_dir, f"anchors.sets={{{named}}}")
    return [one for one in overrides if one != "anchors.num=6"]


@pytest.fixture(scope="module")
def two_sets(folder: Path, tiny_model: Path) -> Path:
    """The first rows, scored on two sets."""
    out_dir = folder / "two"
    overrides = overrides_of(folder, tiny_model, out_dir, SETS)
    ended = run_job("score", *overrides, f"data.limit={NUM_FIRST}")
    result_of(ended)
    assert "1 anchors of the set writing are in another set too" in ended.stderr
    assert "writing-0 is maths-3" in ended.stderr
    return out_dir


@pytest.fixture(scope="module")
def three_sets(folder: Path, tiny_model: Path) -> Path:
    """All three from the start."""
    out_dir = folder / "three"
    result_of(run_job("score", *overrides_of(folder, tiny_model, out_dir, SETS, THIRD)))
    return out_dir


def anchors_of(out_dir: Path) -> list[dict[str, Any]]:
    anchors: list[dict[str, Any]] = pq.read_table(out_dir / "anchors.parquet").to_pylist()
    return anchors


def check_the_same(out_dir: Path, other: Path) -> None:
    """The same anchors and, within float32's rounding, the same numbers."""
    assert [a["anchor_id"] for a in anchors_of(out_dir)] == [
        a["anchor_id"] for a in anchors_of(other)
    ]
    rows, others = read_scores(out_dir), read_scores(other)
    assert rows.keys() == others.keys() and len(rows) == NUM_ROWS
    for example_id, row in rows.items():
        there = others[example_id]
        np.testing.assert_allclose(row["one_shot_logprob"], there["one_shot_logprob"], atol=1e-5)
        assert row["self_anchor_index"] == there["self_anchor_index"]
        assert row["golden_score"] == row["num_wins"] / row["num_anchors"]
        assert abs(row["num_wins"] - there["num_wins"]) <= row["num_near_ties"]
        assert row["num_anchors"] == there["num_anchors"]


def test_all_sets_are_computed_in_one_pass(two_sets: Path) -> None:
    sets = [anchor["anchor_set"] for anchor in anchors_of(two_sets)]
    assert sets == ["maths"] * 4 + ["writing"] * 2
    assert {row["num_anchors"] for row in read_scores(two_sets).values()} == {6}
    [attempt] = manifest_of(two_sets)["stages"]["score"]["attempts"]
    assert attempt["num_computed"] == NUM_FIRST


def test_a_third_set_computes_the_new_passes_alone(
    folder: Path, two_sets: Path, three_sets: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out_dir = tmp_path / "out"
    shutil.copytree(two_sets, out_dir)
    overrides = overrides_of(folder, tiny_model, out_dir, SETS, THIRD)
    ended = run_job("score", *overrides)
    result_of(ended)
    attempt = manifest_of(out_dir)["stages"]["score"]["attempts"][-1]
    assert (attempt["num_added_anchors"], attempt["num_added_passes"]) == (2, 2 * NUM_FIRST)
    new = NUM_ROWS - NUM_FIRST
    assert (attempt["num_reused"], attempt["num_computed"]) == (NUM_FIRST, new)
    assert not (out_dir / "added").exists()
    check_the_same(out_dir, three_sets)
    before = read_scores(two_sets)
    after = read_scores(out_dir)
    for example_id, row in before.items():
        assert after[example_id]["one_shot_logprob"][:6] == row["one_shot_logprob"]
    again = run_job("score", *overrides)
    result_of(again)
    assert "nothing is left to score" in again.stderr


def test_a_set_that_is_gone_or_an_anchor_that_changed_is_refused(
    folder: Path, two_sets: Path, tiny_model: Path, tmp_path: Path
) -> None:
    anchors = anchors_of(two_sets)
    gone = run_job("score", *overrides_of(folder, tiny_model, two_sets, SETS.partition(", w")[0]))
    assert gone.returncode == 2 and "the anchor set writing too" in gone.stderr
    changed = tmp_path / "changed"
    shutil.copytree(folder, changed, ignore=shutil.ignore_patterns("two*", "three*"))
    rows = (changed / "maths.jsonl").read_text().splitlines()
    (changed / "maths.jsonl").write_text("\n".join([rows[0].replace("0.", "9."), *rows[1:]]))
    refused = run_job("score", *overrides_of(changed, tiny_model, two_sets, SETS))
    assert refused.returncode == 2
    assert "changed or removed: maths-0 (" in refused.stderr and "Count 0?" in refused.stderr
    assert anchors_of(two_sets) == anchors


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a driver and every process it started, as when its machine dies."""
    for child in [*psutil.Process(process.pid).children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    process.kill()
    process.wait()


@pytest.mark.slow
def test_killed_while_anchors_are_added_and_gone_on(
    folder: Path, two_sets: Path, three_sets: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out_dir = tmp_path / "out"
    shutil.copytree(two_sets, out_dir)
    overrides = overrides_of(folder, tiny_model, out_dir, SETS, THIRD)
    slow = [*overrides, "score.block_rows=1"]
    driver = subprocess.Popen(
        command("score", *slow), env=environment(), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        until = time.monotonic() + 240
        while len(list((out_dir / "added").glob("part-*.parquet"))) < 2:
            assert driver.poll() is None and time.monotonic() < until
            time.sleep(0.02)
    finally:
        kill_tree(driver)
    num_parts = len(list((out_dir / "added").glob("part-*.parquet")))
    assert {row["num_anchors"] for row in read_scores(out_dir).values()} == {6}
    assert len(anchors_of(out_dir)) == 6
    selected = run_job("select_topk", f"out_dir={out_dir}", "select.fraction=0.1")
    result_of(selected)
    result_of(run_job("score", *overrides))
    attempt = manifest_of(out_dir)["stages"]["score"]["attempts"][-1]
    assert attempt["num_added_passes"] == 2 * (NUM_FIRST - num_parts)
    check_the_same(out_dir, three_sets)


def test_selections_by_one_set_and_by_both(two_sets: Path) -> None:
    golden = {
        (row["content_id"], row["anchor_set"]): row["golden_score"]
        for row in pq.read_table(two_sets / "signals/anchor_sets.parquet").to_pylist()
    }
    best = {
        name: max(score for (_, of), score in golden.items() if of == name)
        for name in ("maths", "writing")
    }
    ended = run_job("select_topk", f"out_dir={two_sets}", "select=top_k", "select.k=1",
                    "select.set=writing")  # fmt: skip
    result = result_of(ended)
    assert (result["name"], result["cutoff"]) == ("golden-writing", best["writing"])
    ended = run_job("select_topk", f"out_dir={two_sets}", "select=top_k", "select.k=8",
                    "select.sets={maths: 0.75, writing: 0.25}")  # fmt: skip
    result = result_of(ended)
    assert [(one["name"], one["num_rows"]) for one in result["sets"]] == [
        *(("maths", 6), ("writing", 2)),
    ]
    assert "6 rows of the set maths (75% asked for)" in ended.stdout
