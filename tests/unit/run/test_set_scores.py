"""Scores by anchor set: of a run folder as scoring leaves it, and selections by them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_candidates import make_anchor
from scored_run import TOP_4, choose, write_candidates

from nuggets_ray import io
from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.io import write_json
from nuggets_ray.run.anchors import write_anchors
from nuggets_ray.run.joined import read_scored
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.scores import write_eliminated_scores, write_scores
from nuggets_ray.run.set_scores import (
    anchor_set_names,
    of_rows,
    read_set_scores,
    with_set_scores,
    write_set_scores,
)
from nuggets_ray.score.score_rows import complete_row, eliminated_row
from nuggets_ray.score.zero_shot import ZeroShot

SETS = ["maths", "maths", "maths", "writing", "writing"]
ANCHORS = tuple(replace(make_anchor(f"anchor{i}"), anchor_set=name) for i, name in enumerate(SETS))
BASE = ZeroShot(ANCHORS, np.zeros(5, np.float32))
DELTA = {
    "c00": [1, 1, 1, -1, -1],
    "c01": [1, 1, -1, -1, -2],
    "c02": [-1, -1, -1, 2, 2],
    "c03": [1, -2, -1, 3, -1],
    "c04": [-1, -1, -1, -1, -1],
}


@pytest.fixture
def out_dir(tmp_path: Path) -> str:
    out_dir = str(tmp_path / "run")
    write_candidates(out_dir, 0, [*range(5), 0])
    write_anchors(RunFolder(out_dir).anchors, ANCHORS, BASE.zero_shot_A)
    rows = [
        complete_row(content_id, (3, 4, 0), np.array(delta, np.float32), BASE, None)
        for content_id, delta in DELTA.items()
    ]
    write_scores(out_dir, "one", rows[:3])
    write_scores(out_dir, "two", [*rows[2:], replace(rows[0], example_id="c00-2")])
    return out_dir


def scores_of(out_dir: str, name: str) -> list[float]:
    table = read_set_scores(out_dir, [name])
    golden_N, _ = of_rows(table, name, np.array(sorted(DELTA)))
    return golden_N.round(3).tolist()


def test_every_set_has_its_own_share_of_wins(out_dir: str) -> None:
    assert anchor_set_names(out_dir) == ["maths", "writing"]
    assert scores_of(out_dir, "maths") == [1.0, 0.667, 0.0, 0.333, 0.0]
    assert scores_of(out_dir, "writing") == [0.0, 0.0, 1.0, 0.5, 0.0]
    table = read_set_scores(out_dir, ["writing"])
    _, mean_N = of_rows(table, "writing", np.array(["c03", "none"]))
    assert mean_N[0] == 1.0 and np.isnan(mean_N[1])


def test_a_row_is_left_out_of_its_own_anchor_and_of_a_set_that_is_it_alone(tmp_path: Path) -> None:
    out_dir = str(tmp_path)
    anchors = [replace(make_anchor("c0"), anchor_set="one"), make_anchor("c1"), make_anchor("c2")]
    base = ZeroShot(tuple(anchors), np.zeros(3, np.float32))
    write_anchors(RunFolder(out_dir).anchors, anchors, base.zero_shot_A)
    one_shot_A = np.array([1, 1, -1], np.float32)
    write_scores(
        out_dir, "t", [complete_row(f"c{i}", (3, 4, 0), one_shot_A, base, i) for i in (0, 1)]
    )
    found = {
        (row["content_id"], row["anchor_set"]): (row["golden_score"], row["num_anchors"])
        for row in read_set_scores(out_dir, ["one", "file"]).to_pylist()
    }
    assert found == {
        **{("c0", "one"): (None, 0), ("c0", "file"): (0.5, 2)},
        **{("c1", "one"): (1.0, 1), ("c1", "file"): (0.0, 1)},
    }


def test_the_table_for_other_programs_is_of_runs_with_several_sets(out_dir: str) -> None:
    uri = write_set_scores(out_dir)
    assert uri == RunFolder(out_dir).set_scores
    table = io.read_table(uri)
    assert table.num_rows == 2 * len(DELTA)
    assert table.equals(read_set_scores(out_dir, ["maths", "writing"]))
    write_anchors(RunFolder(out_dir).anchors, [make_anchor("x")] * 5, BASE.zero_shot_A)
    assert write_set_scores(out_dir) is None and not io.exists(uri)


def test_the_best_of_one_set(out_dir: str) -> None:
    result, rows = choose(out_dir, replace(TOP_4, k=2, set="maths"))
    assert result["name"] == "golden-maths" and result["cutoff"] == pytest.approx(2 / 3)
    assert [row["example_id"] for row in rows] == ["c00", "c01"]
    result, rows = choose(out_dir, replace(TOP_4, k=2, set="writing"))
    assert [row["example_id"] for row in rows] == ["c02", "c03"]
    assert rows[0]["golden_score"] == 0.4, "the score over all anchors"


def test_a_mixture_of_sets_says_what_each_gave(out_dir: str) -> None:
    config = replace(TOP_4, k=4, sets={"maths": 0.5, "writing": 0.5})
    result, rows = choose(out_dir, config)
    assert result["name"] == "golden-mixture" and result["cutoff"] is None
    assert [row["example_id"] for row in rows] == ["c00", "c02", "c01", "c03"]
    expected: list[dict[str, Any]] = [
        {"name": "maths", "share": 0.5, "num_rows": 2, "mean_golden_score": pytest.approx(0.5)},
        {"name": "writing", "share": 0.5, "num_rows": 2, "mean_golden_score": 0.375},
    ]
    assert result["sets"] == expected
    record = json.loads(Path(out_dir, "selections/golden-mixture/selection.json").read_text())
    assert record["sets"] == expected
    assert record["settings"]["sets"] == config.sets


def test_a_set_that_the_run_does_not_have(out_dir: str) -> None:
    with pytest.raises(UserError, match=r"select.set=code: the anchor sets of .* maths, writing; "):
        choose(out_dir, replace(TOP_4, set="code"))
    with pytest.raises(UserError, match=r"select.sets=code: the anchor sets"):
        choose(out_dir, replace(TOP_4, sets={"maths": 0.5, "code": 0.5}))


def test_what_a_race_left_behind_may_be_better_for_one_set(out_dir: str) -> None:
    write_candidates(out_dir, 1, [7])
    met = np.array([1, np.nan, np.nan, np.nan, np.nan], np.float32)
    write_eliminated_scores(out_dir, "t", [eliminated_row("c07", (3, 4, 0), met, BASE, None)])
    manifest = {"schema_version": 1, "stages": {}, "race": {"top_k": 4}}
    write_json(RunFolder(out_dir).manifest, manifest)
    with pytest.raises(UserError, match=r"select.set=maths: the race .*schedule=full"):
        choose(out_dir, replace(TOP_4, k=1, set="maths"))


def test_scores_without_a_set_asked_for_are_read_as_before(out_dir: str) -> None:
    scored = read_scored(out_dir)
    assert with_set_scores(out_dir, scored, SelectConfig()) is scored
