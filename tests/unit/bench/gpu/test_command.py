"""The first look at a GPU, on a CPU: it passes, tells what fails, and needs little."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nuggets_ray.bench import engine
from nuggets_ray.bench.gpu import command, speed
from nuggets_ray.errors import UserError
from nuggets_ray.score import compiled

BARE = """
import sys
for name in ("ray", "hydra", "omegaconf", "pyarrow", "pandas", "fsspec", "psutil", "datasets"):
    sys.modules[name] = None  # import raises ModuleNotFoundError
from nuggets_ray.bench import engine
from nuggets_ray.bench.gpu import command
command.check_all = lambda *_: iter(())
command.settings = lambda device: iter([("as it is", command.Speed("merge"), 512)])
sys.argv = ["engine", "--gpu", "--tiny"]
sys.exit(engine.main())
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What compiles is only traced, and everything runs once."""
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    monkeypatch.setattr(speed, "MIN_RUN_S", 0.0)


@pytest.mark.long
def test_tiny_passes_and_writes_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "rows.json"
    monkeypatch.setattr(sys, "argv", ["engine", "--gpu", "--tiny", "--out", str(out)])
    assert engine.main() == 0
    printed = capsys.readouterr().out
    assert "WRONG" not in printed and "0 of it failed" in printed
    assert json.loads(printed.splitlines()[-1])["status"] == "done"
    rows = json.loads(out.read_text())
    ways = {row["contender"] for row in rows if row["metric"] == "off"}
    assert {"tree", "tree, layers compiled", "tree, products fused", "kv_cache", "plain"} <= ways
    assert max(row["value"] for row in rows if row["metric"] == "off") < 1
    timed = {row["contender"] for row in rows if row["metric"] == "of dense"}
    assert {"as it is", "head compiled", "products fused", "layers and head compiled"} <= timed
    assert {"peak", "formula", "of own products"} <= {row["metric"] for row in rows}


def test_a_section_that_fails_is_told_and_the_next_one_comes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> float:
        raise RuntimeError("no such product")

    monkeypatch.setattr(command, "check_all", lambda *_: iter(()))
    monkeypatch.setattr(command, "dense_rate", broken)
    assert command.gpu_bench(True, "")["status"] == "failed"
    printed = capsys.readouterr().out
    assert "* what the machine can do: RuntimeError: no such product" in printed
    assert "* how fast: tiny: RuntimeError: there is no dense rate" in printed
    assert "0 of 0 ways are right." in printed


def test_what_there_is_no_time_for_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "LIMIT_S", 0.0)
    assert command.gpu_bench(True, "")["status"] == "failed"
    assert "* is it right?: skipped, no time left" in capsys.readouterr().out


def test_without_a_gpu_it_says_so() -> None:
    with pytest.raises(UserError, match="--tiny tries a CPU"):
        command.gpu_bench(False, "")


@pytest.mark.long
def test_it_needs_torch_and_transformers_alone() -> None:
    command_line = [sys.executable, "-c", BARE]
    ended = subprocess.run(command_line, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "0 of it failed" in ended.stdout
