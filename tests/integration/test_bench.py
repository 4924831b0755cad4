"""bench=engine as a user runs it, through the job and as a module without Ray and Hydra."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from score_runs import ROOT, result_of, run_job

BLOCK = "import sys\nfor name in ('ray', 'hydra', 'omegaconf'):\n    sys.modules[name] = None\n"


@pytest.fixture(autouse=True)
def demo_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packaged anchors and candidates, whatever is on this machine."""
    monkeypatch.setenv("NUGGETS_TEST_DATA", str(tmp_path))


def test_the_job_prints_tables_and_writes_rows_and_log(tiny_model: Path, tmp_path: Path) -> None:
    ended = run_job(
        "bench",
        "bench=engine",
        f"model.path={tiny_model}",
        "bench.num_anchors=4",
        "bench.repeats=1",
        "bench.cases=[cut-50]",
        f"bench.out={tmp_path}/rows.json",
        f"bench.log={tmp_path}/LOG.md",
    )
    result = result_of(ended)
    assert result["status"] == "done"
    assert result["wrote"] == [f"{tmp_path}/rows.json", f"{tmp_path}/LOG.md"]
    rows = json.loads((tmp_path / "rows.json").read_text())
    found = {row["metric"]: row["value"] for row in rows if row["contender"] == "tree"}
    assert found["cpu_s"] > 0 and found["share"] > 0 and result["num_rows"] == len(rows)
    assert "the packaged demo's anchors" in ended.stdout
    assert "| cut-50 | tree" in ended.stdout and "Where the time goes" in ended.stdout
    assert "expected to take about" in ended.stderr and "repeat 1 of 1" in ended.stderr
    log = (tmp_path / "LOG.md").read_text()
    assert "bench=engine" in log and "| cut-50 | tree" in log


@pytest.fixture
def without_ray_and_hydra(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that, with its children, can import neither."""
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "sitecustomize.py").write_text(BLOCK)
    return {**os.environ, "PYTHONPATH": str(tmp_path / "blocked")}


@pytest.mark.slow
def test_the_module_measures_without_ray_and_hydra(
    tiny_model: Path, tmp_path: Path, without_ray_and_hydra: dict[str, str]
) -> None:
    command = [sys.executable, "-m", "nuggets_ray.bench.engine", "--model", str(tiny_model)]
    command += ["--num-anchors", "4", "--repeats", "1", "--cases", "cut-200"]
    ended = subprocess.run(
        [*command, "--contenders", "plain"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=without_ray_and_hydra,
    )
    assert result_of(ended)["wrote"] == []
    assert "| cut-200 | plain" in ended.stdout
