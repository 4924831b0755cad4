"""The notebook: its cells run in order on a finished run, as they stand."""

import json
from pathlib import Path

import matplotlib
import pytest
from reported_run import choose, scored

from nuggets_ray.demo import files

NOTEBOOK = Path(files.__file__).with_name("explore.ipynb")


def cells(kind: str) -> list[str]:
    told = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return ["".join(c["source"]) for c in told["cells"] if c["cell_type"] == kind]


def test_every_cell_runs_on_a_finished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    choose(scored(str(tmp_path / "runs" / "demo"), 40))
    here = tmp_path / "nuggets_ray" / "demo"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    matplotlib.use("agg", force=True)
    names: dict[str, object] = {}
    for number, source in enumerate(cells("code")):
        exec(compile(source, f"explore.ipynb, cell {number}", "exec"), names)
    told = capsys.readouterr().out
    assert "41 scored rows against 4 anchors" in told
    assert "of 41 rows, computed again, are those of the run" in told
    assert "mean delta               rank correlation" in told
    assert "the harder half" in told and "two halves of the anchors agree" in told
    assert "golden: 4 rows, fields instruction, output, category, example_id" in told


def test_it_says_what_it_does_and_fits_a_page() -> None:
    assert cells("markdown")[0].startswith("# ") and len(cells("markdown")) >= 4
    assert NOTEBOOK.stat().st_size < 250_000
