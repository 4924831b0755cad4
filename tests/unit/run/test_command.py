"""The command line of the process, as the run keeps it."""

import sys

import pytest

from nuggets_ray.cli import run
from nuggets_ray.jobs import JOBS
from nuggets_ray.run.command import COMMAND


def test_a_job_keeps_its_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert COMMAND.get() == ""
    monkeypatch.setattr(sys, "argv", ["jobs/status.py"])
    before = COMMAND.set("")
    with pytest.raises(SystemExit):
        run(JOBS["status"], ["out_dir=/no where"])
    assert COMMAND.get() == "python jobs/status.py 'out_dir=/no where'"
    COMMAND.reset(before)
