"""What to look at twice."""

from pathlib import Path

import pyarrow as pa
from reported_run import add_stage, choose, material, scored, skip
from scored_run import write_candidates, write_scores

from nuggets_ray import io
from nuggets_ray.io import write_json
from nuggets_ray.report.advice import advice
from nuggets_ray.run.layout import RunFolder


def seen(out_dir: str) -> str:
    cautions = advice(material(out_dir)).values.get("cautions", [])
    assert all(one.advice for one in cautions)
    return "\n".join(one.seen for one in cautions)


def test_few_anchors_and_a_selection_by_length(tmp_path: Path) -> None:
    text = seen(choose(scored(str(tmp_path), 40), by="longest"))
    assert "4 anchors: each score has a wide interval" in text
    assert "are longer than the others (AUC 1.00)" in text


def test_many_skipped_rows(tmp_path: Path) -> None:
    out_dir = scored(str(tmp_path))
    run = RunFolder(out_dir)
    write_json(run.prepared, {"prepared": {"num_rows": 20}})
    skip(out_dir, "no_answer", "no_answer", "held_out")
    assert "2 of 20 rows were skipped (10%)" in seen(out_dir)


def test_what_stages_warned_of(tmp_path: Path) -> None:
    out_dir = scored(str(tmp_path))
    add_stage(out_dir, "evaluate")
    told = {"stage": "evaluate", "attempt_id": "a-evaluate"}
    said = {"warning": {"text": "look here", "at": 0.0}, "error": {"text": "broke", "at": 0.0}}
    write_json(RunFolder(out_dir).status("evaluate"), told | said)
    text = seen(out_dir)
    assert "evaluate warned: look here" in text and "evaluate: broke" in text


def test_near_ties_and_cut_rows(tmp_path: Path) -> None:
    out_dir = scored(str(tmp_path))
    (part,) = io.list_files(RunFolder(out_dir).scores, ".parquet")
    table = io.read_table(part)
    for name, value in (("num_near_ties", 2), ("num_dropped_tokens", 5)):
        place = table.column_names.index(name)
        column = pa.array([value] * table.num_rows, pa.int32())
        table = table.set_column(place, table.schema.field(place), column)
    io.write_table(part, table)
    text = seen(out_dir)
    assert "51% of all wins and losses are within the rounding" in text
    assert "13 rows were cut" in text


def test_a_partial_run_and_copies(tmp_path: Path) -> None:
    write_candidates(str(tmp_path), 0, [*range(20), 1, 2, 3])
    write_scores(str(tmp_path), 0, range(15))
    attempt = {"attempt_id": "a", "status": "running"}
    attempt |= {"started": "2026-01-01T10:00:00+00:00", "ended": None}
    stages = {"score": {"status": "running", "attempts": [attempt]}}
    write_json(RunFolder(str(tmp_path)).manifest, {"schema_version": 1, "stages": stages})
    text = seen(str(tmp_path))
    assert "Not every candidate is scored" in text and "3 of the scored rows are exact" in text
