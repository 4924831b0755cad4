"""Selections by more than the rank, as a user makes them: by the pipeline, then by the job."""

import json
from pathlib import Path
from typing import Any

import pytest
from score_runs import result_of, run_job, score_overrides

pytest.importorskip("datasketch")

TASKS = ("open question", "chat", "code")
NUM_ROWS = 36


def write_tasks(path: Path) -> Path:
    """Rows of three tasks; every sixth is a row of chat that differs from the last such in a word
    of many."""
    rows = []
    for number in range(NUM_ROWS):
        is_twin = number % 6 == 5
        words = [f"word{number * 100 + i}" for i in range(5 + number % 4 * 6)]
        if is_twin:
            words = [f"same{i}" for i in range(60)] + [f"end{number}"]
        task = "chat" if is_twin else TASKS[number % 3]
        rows.append(
            {"instruction": f"Row {number}?", "output": " ".join(words), "meta": {"task": task}}
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A pipeline whose golden rows are matched in length, distinct and diverse."""
    folder = tmp_path_factory.mktemp("steps")
    overrides = score_overrides(
        write_tasks(folder / "rows.jsonl"),
        tiny_model,
        folder / "run",
        *("select=top_k", "select.k=8", "select.match_length=random-0"),
        *("select.max_similarity=0.8", "select.diversity=k_center", "select.pool=2"),
    )
    ended = run_job("pipeline", *overrides)
    assert ended.returncode == 0, ended.stderr
    return folder / "run"


def read(run: Path, name: str) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """The rows, the record and the profile of a selection."""
    folder = run / "selections" / name
    rows = [json.loads(line) for line in (folder / "selected.jsonl").read_text().splitlines()]
    record, profile = (
        json.loads((folder / f"{part}.json").read_text()) for part in ("selection", "profile")
    )
    return rows, record, profile


def num_twins(rows: list[dict[str, Any]]) -> int:
    return sum("same0" in row["output"] for row in rows)


def test_the_pipeline_matches_lengths_and_leaves_twins_out(run: Path) -> None:
    rows, record, profile = read(run, "golden")
    assert len(rows) == 8 and num_twins(rows) <= 1
    assert [row["rank"] for row in rows] == list(range(1, 9))
    scores = [row["golden_score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    settings = record["settings"]
    assert (settings["match_length"], settings["diversity"]) == ("random-0", "k_center")
    assert record["num_pool"] > 8 and record["matched"]["mean_kept"] > 0
    assert profile["near_duplicates"]["num_rows"] == 0
    assert {one["name"] for one in profile["overlaps"]} == {"golden", "longest", "random-0"}
    assert len(read(run, "random-0")[0]) == 8
    assert (run / "embeddings.parquet").exists()


def test_quotas_by_a_field_with_odd_names(run: Path) -> None:
    ended = run_job(
        "select_topk",
        *(f"out_dir={run}", "select=top_k", "select.k=7", "select.name=mixed"),
        *("select.per=meta.task", "select.quotas={open question: 4, code: 3}"),
    )
    assert ended.returncode == 0, ended.stderr
    rows, record, _ = read(run, "mixed")
    tasks = [row["meta"]["task"] for row in rows]
    assert (tasks.count("open question"), tasks.count("code")) == (4, 3)
    assert record["settings"]["quotas"] == {"open question": 4, "code": 3}
    assert {"value": "chat", "num_eligible": 18, "num_wanted": 0, "num_kept": 0} in record["quotas"]
    assert "| meta.task     | eligible | wanted | kept |" in ended.stdout


def test_near_duplicates_are_listed_with_their_twins(run: Path) -> None:
    ended = run_job(
        "select_topk",
        *(f"out_dir={run}", "select=top_k", "select.k=31", "select.name=distinct"),
        *("select.max_similarity=0.8", "select.min_answer_tokens=1"),
    )
    assert ended.returncode == 0, ended.stderr
    rows, record, _ = read(run, "distinct")
    assert len(rows) == 31 and num_twins(rows) == 1, "all but five of six twins"
    text = (run / "selections" / "distinct" / "near_duplicates.jsonl").read_text()
    dropped = [json.loads(line) for line in text.splitlines()]
    [twin] = [row["example_id"] for row in rows if "same0" in row["output"]]
    assert len(dropped) == 5 and {one["twin_id"] for one in dropped} == {twin}
    assert all(0.8 <= one["similarity"] < 1 for one in dropped)
    assert record["num_near_duplicates"] == len(dropped) == result_of(ended)["num_near_duplicates"]


def test_a_diverse_selection_reads_the_embeddings_that_there_are(run: Path) -> None:
    keys = (f"out_dir={run}", "select=top_k", "select.k=5", "select.diversity=facility_location")
    first = run_job("select_topk", *keys, "select.name=diverse")
    assert first.returncode == 0, first.stderr
    before = (run / "embeddings.parquet").read_bytes()
    again = run_job("select_topk", *keys, "select.name=diverse")
    assert "hidden states of" not in again.stderr
    assert (run / "embeddings.parquet").read_bytes() == before
    assert result_of(again) == result_of(first) and len(read(run, "diverse")[0]) == 5


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["select.per=topic"], "select.per=topic: no row has this field"),
        (["select.per=meta.task", "select.quotas={chat: many}"], "select.quotas.chat=many: must"),
        (["select.match_length=random-9"], "no such selection (there are: "),
        (["select.max_answer_tokens=0"], "select.max_answer_tokens=0: must be at least 1"),
        (["select.max_similarity=0.2"], "select.max_similarity=0.2: must be at least 0.5"),
    ],
)
def test_a_mistake_is_one_sentence(run: Path, overrides: list[str], message: str) -> None:
    ended = run_job("select_topk", f"out_dir={run}", *overrides)
    assert ended.returncode == 2 and message in ended.stderr
    assert "Traceback" not in ended.stderr
