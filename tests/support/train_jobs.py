"""What the tests of fine-tuning share: its keys, a job that can be killed, and killing it."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from score_runs import command, environment

NUM_STEPS = 60


def overrides(data: Path, model: Path, out_dir: Path | str, *more: str) -> list[str]:
    """A fine-tune of NUM_STEPS steps with a checkpoint every ten."""
    return [
        f"data.path={data}",
        f"model.path={model}",
        f"out_dir={out_dir}",
        "data.holdout=4",
        "finetune.batch_rows=8",
        f"finetune.min_steps={NUM_STEPS}",
        f"finetune.max_steps={NUM_STEPS}",
        "finetune.learning_rate=1e-3",
        "finetune.checkpoint_steps=10",
        "finetune.dtype=float32",
        "progress_s=0.5",
        "cluster.address=local",
        "cluster.num_workers=2",
        "cluster.object_store_gib=0.15",
        *more,
    ]


def start(
    data: Path, model: Path, out_dir: Path | str, folder: Path, *more: str
) -> subprocess.Popen[bytes]:
    """The job in a session of its own; its stderr goes to `folder`/stderr.txt."""
    return subprocess.Popen(
        command("finetune", *overrides(data, model, out_dir, *more)),
        stdout=subprocess.DEVNULL,
        stderr=open(folder / "stderr.txt", "ab"),
        start_new_session=True,
        env=environment(),
    )


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait until `condition()` while the job goes on."""
    deadline = time.monotonic() + 400
    while not condition():
        assert process.poll() is None, "the job ended before it could be killed"
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """A job and every process that it started."""
    driver = psutil.Process(process.pid)
    return [driver, *driver.children(recursive=True)]


def kill(processes: list[psutil.Process]) -> None:
    """SIGKILL, as when a machine dies."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
