"""What was run, and what it cost."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from reported_run import add_stage, material, scored
from scored_run import write_candidates, write_scores

from nuggets_ray import io
from nuggets_ray.report.overview import lead_text, overview, partial_text, passes_text
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.rounds import Round, RoundAsk, write_round


def test_facts_and_attempts(tmp_path: Path) -> None:
    out_dir = scored(str(tmp_path))
    add_stage(out_dir, "score", num_computed=12, num_reused=3, predicted_s=60.0)
    section = overview(material(out_dir))
    facts = dict(section.values["facts"])
    assert facts["data"] == "/data/rows.jsonl" and facts["anchors"] == "4 file"
    (attempt,) = section.values["attempts"].rows
    assert attempt[0] == "score" and attempt[4:6] == ["2 min", "1 min"]
    assert attempt[-1] == "12 rows computed, 3 reused"


def test_lead_and_passes(tmp_path: Path) -> None:
    run = material(scored(str(tmp_path)))
    assert "13 instruction rows of /data/rows.jsonl" in lead_text(run)
    assert "against 4 anchors" in lead_text(run)
    # row 2 is anchor 0, and the copy of row 5 costs nothing
    assert passes_text(run).startswith("47 of the 48 pairs") and "race" not in passes_text(run)
    assert partial_text(run) == ""


def test_a_race_saves_passes(tmp_path: Path) -> None:
    out_dir = scored(str(tmp_path))
    run = RunFolder(out_dir)
    (part,) = io.list_files(run.scores, ".parquet")
    table = io.read_table(part)
    place = table.column_names.index("num_anchors")
    few = pa.array([2] * table.num_rows, pa.int32())
    io.write_table(part, table.set_column(place, table.schema.field(place), few))
    ids = np.array(["c01", "c02"])
    ask = RoundAsk(ids, np.array([0, 3]))
    told = {"phase": "pilot", "num_live": 2, "num_left": 0, "num_complete": 1}
    write_round(out_dir, Round(0, (ask,), None, None, told))
    section = overview(material(out_dir))
    assert "24 of the 48 pairs" in section.values["passes"]
    assert "2.0 times fewer" in section.values["passes"]
    assert len(section.values["funnel"]) == 2 and "pilot" in section.values["funnel"][1]
    assert section.values["promises"] == []


def test_a_part_says_that_it_is_one(tmp_path: Path) -> None:
    write_candidates(str(tmp_path), 0, range(20))
    write_scores(str(tmp_path), 0, range(15))
    text = partial_text(material(str(tmp_path)))
    assert text.startswith("15 of 20 candidates are scored, 5 wait")


def test_a_stage_after_the_scoring_that_died_is_named(tmp_path: Path) -> None:
    out_dir = scored(str(tmp_path))
    later = "2026-01-02T10:00:00+00:00"
    add_stage(out_dir, "evaluate", started=later, ended=None, status="running")
    run = material(out_dir)
    assert partial_text(run).startswith("evaluate is killed")
    assert [row[2] for row in overview(run).values["attempts"].rows] == ["done", "killed"]
