"""The bench's side of a worker process (worker.py): starts it, asks it, ends it.

A worker is in a session of its own, so that Ctrl-C reaches the bench alone, which then ends it; it
also ends by itself when its stdin closes.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from nuggets_ray.bench.task import Cost, NotMeasured, Task, TaskRun
from nuggets_ray.score.worker_environment import FEW_KERNELS, KEEP_MEMORY

PACKAGE_PARENT = Path(__file__).resolve().parents[2]
STDERR_CHARS = 2000
END_S = 10.0


class WorkerFailed(Exception):
    """A contender raised or died; the message ends with what it said."""


class WorkerProcess:
    """A running worker. Raises NotMeasured or WorkerFailed from the start on."""

    def __init__(self, task: Task, python: str = sys.executable) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed in close)
        self._process = subprocess.Popen(
            [python, "-m", "nuggets_ray.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            start_new_session=True,
            env=environment(task.threads),
        )
        try:
            self._ask(task.to_json())
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def run(self, work: str, candidates: list[int]) -> TaskRun:
        """Score the candidates, measured."""
        answer = self._ask({"do": "run", "work": work, "candidates": candidates})
        return TaskRun(
            cost=Cost(**answer["cost"]),
            log_probs_CA=np.array(answer["log_probs"]),
            useful_flop=answer["useful_flop"],
            counts=answer["counts"],
        )

    def rate(self, work: str, candidates: list[int]) -> dict[str, float]:
        """MatrixRate's fields, now."""
        return self._ask({"do": "rate", "work": work, "candidates": candidates})

    def profile(self, work: str, candidates: list[int]) -> dict[str, float]:
        """Seconds of a run by group."""
        return self._ask({"do": "profile", "work": work, "candidates": candidates})

    def close(self) -> None:
        """End the process, within seconds even in the middle of a run."""
        self._process.kill()
        self._process.wait(END_S)
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # what a dead worker did not read
                    stream.close()

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(BrokenPipeError):  # it is dead: what it said is read below
            print(json.dumps(question), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise WorkerFailed(f"its process ended with code {code}: {self._said()}")
        answer: dict[str, Any] = json.loads(line)
        if "not_measured" in answer:
            raise NotMeasured(answer["not_measured"])
        if "failed" in answer:
            raise WorkerFailed(answer["failed"])
        return answer

    def _said(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace")[-STDERR_CHARS:]


def environment(threads: int) -> dict[str, str]:
    """The worker's variables: its threads, this package on the path, and what the scoring stage
    gives its workers: for every contender, ours or not.
    """
    path = os.pathsep.join([str(PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "PYTHONPATH": path,
        "TOKENIZERS_PARALLELISM": "false",
        **KEEP_MEMORY,
        **FEW_KERNELS,
    }
