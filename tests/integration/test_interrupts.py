"""SIGTERM, as from a scheduler, ends every job as Ctrl-C does, in whatever stage it comes."""

import signal
import subprocess
import time
from pathlib import Path

import pytest
from score_runs import (
    command,
    environment,
    manifest_of,
    ray_sessions,
    score_overrides,
    write_rows,
)
from train_jobs import overrides as train_overrides

MOMENTS = {
    "plan": "prepared 60 rows",  # then the calibration, of 20 seconds, begins
    "finetune": "checkpoint after step",
    "evaluate": "log-probs of",
}
"""A line of each job's log in the middle of its work."""


def arguments_of(name: str, data: Path, model: Path, out_dir: Path) -> list[str]:
    if name == "plan":
        return score_overrides(data, model, out_dir, "cluster.num_workers=1")
    if name == "finetune":
        return train_overrides(data, model, out_dir, "cluster.num_workers=1")
    return [
        f"out_dir={out_dir}",
        f"evaluate.models=[{model}]",
        f"evaluate.held_out_path={data}",
        "cluster.address=local",
        "cluster.num_workers=1",
        "cluster.object_store_gib=0.15",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", MOMENTS)
def test_sigterm_is_an_interruption(name: str, tiny_model: Path, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.jsonl", 60)
    log, started = tmp_path / "stderr.txt", time.time()
    with open(log, "wb") as stderr:
        job = subprocess.Popen(
            command(name, *arguments_of(name, data, tiny_model, tmp_path / "out")),
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
            env=environment(),
        )
    deadline = time.monotonic() + 300
    while MOMENTS[name] not in log.read_text():
        assert job.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)
    code = job.wait(timeout=120)
    said = log.read_text()
    assert code == 130, said
    assert "run the same command again" in said.splitlines()[-1]
    assert "Traceback" not in said and "*** SIG" not in said
    [stage] = manifest_of(tmp_path / "out")["stages"].values()
    assert stage["status"] == "interrupted"
    assert len(ray_sessions(job.pid, started)) == 1
