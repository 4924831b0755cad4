"""The command line of the process, as the run keeps it."""

import sys
from dataclasses import replace
from typing import Any

import pytest

from nuggets_ray.cli import run
from nuggets_ray.jobs import JOBS
from nuggets_ray.run.command import COMMAND


def test_a_job_keeps_its_command_line_and_no_longer_than_it_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def main(config: Any) -> dict[str, Any]:
        seen.append(COMMAND.get())
        return {}

    monkeypatch.setattr(sys, "argv", ["jobs/status.py"])
    with pytest.raises(SystemExit):
        run(replace(JOBS["status"], load=lambda: main), ["out_dir=/no where"])
    assert seen == ["python jobs/status.py 'out_dir=/no where'"]
    assert COMMAND.get() == ""
