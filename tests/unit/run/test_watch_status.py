"""jobs/status.py as one types it: once, as JSON, and watched until Ctrl-C."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nuggets_ray.config.status import StatusConfig
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.watch_status import show_status

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def done(tmp_path: Path) -> Path:
    with Run(str(tmp_path), "score"):
        pass
    return tmp_path


def test_once(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = show_status(str(done), StatusConfig())
    assert result == {"wrote": [], "status": "done", "stage": "score", "state": "done"}
    assert f"run       {done}\n" in capsys.readouterr().out


def test_as_json(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = show_status(str(done), StatusConfig(json=True))
    assert capsys.readouterr().out == ""
    again = json.loads(json.dumps(result))
    assert (again["state"], again["is_alive"], again["told"]["phase"]) == ("done", False, "done")


def command(folder: Path, *more: str) -> list[str]:
    arguments = [f"out_dir={folder}", "status.watch=true", "status.every_s=0.2", *more]
    return [sys.executable, str(ROOT / "jobs" / "status.py"), *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "TERM": "xterm"}


@pytest.mark.long
def test_watched_by_a_program(done: Path) -> None:
    with subprocess.Popen(
        command(done, "status.json=true"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as watching:
        assert watching.stdout is not None and watching.stderr is not None
        first, second = (json.loads(watching.stdout.readline()) for _ in range(2))
        assert first["state"] == second["state"] == "done"
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 0
        assert "Traceback" not in watching.stderr.read()


@pytest.mark.long
def test_watched_on_a_terminal(done: Path) -> None:
    ours, theirs = pty.openpty()
    watching = subprocess.Popen(
        command(done), stdin=theirs, stdout=theirs, stderr=theirs, env=environment()
    )
    os.close(theirs)
    seen, deadline = b"", time.monotonic() + 60
    while seen.count(b"score done") < 2 and time.monotonic() < deadline:
        seen += os.read(ours, 65536)
    watching.send_signal(signal.SIGINT)
    assert watching.wait(30) == 0
    os.close(ours)
    assert seen.count(b"score done") >= 2 and b"\x1b[" in seen, "one screen, drawn again"
    assert b"writing what is finished" not in seen
