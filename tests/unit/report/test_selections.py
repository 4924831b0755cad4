"""The selections in the report, and the commands that go on from one."""

import re
import shlex
from pathlib import Path

from reported_run import choose, material, scored

from nuggets_ray.config.compose import load
from nuggets_ray.report.selections import next_commands, selections


def test_each_selection_beside_all_rows(tmp_path: Path) -> None:
    out_dir = choose(choose(scored(str(tmp_path))), by="longest")
    section = selections(material(out_dir))
    table = section.values["table"]
    assert [row[0] for row in table.rows] == ["golden", "longest", "all scored rows"]
    assert table.rows[0][1:3] == ["golden_score, top, top_k 4", "4"]
    assert table.rows[-1][-1] == "1", "an exact copy"
    assert section.values["shared"].rows[0] == ["golden", "100%", "100%"]
    assert section.values["sources"][0].header[0] == "category"
    assert [name for name, _ in section.values["files"]] == [
        *("README.md", "selected.jsonl", "selected.parquet", "selection.json")
    ]
    assert section.values["files"][0][1] == "../selections/golden/README.md"
    assert section.pictures[0].name == "sources"


def test_commands_that_go_on_are_ones_that_jobs_take(tmp_path: Path) -> None:
    run = material(choose(scored(str(tmp_path / "a run, (1)"))))
    assert run.main is not None
    commands = dict(next_commands(run, run.main))
    jobs = [command for command in commands.values() if "jobs/" in command]
    assert len(jobs) == 4
    for command in jobs:
        words = shlex.split(command)
        config = load(words[2:])  # raises UserError
        assert config.out_dir == run.out_dir
    assert any("race.top_k=4" in command for command in jobs)
    assert any(re.search(r"finetune.selection=golden", command) for command in jobs)


def test_without_one_the_command_that_makes_one(tmp_path: Path) -> None:
    absent = selections(material(scored(str(tmp_path)))).absent
    assert "jobs/select_topk.py" in absent and "select.fraction=0.05" in absent
