"""What a run costs: CPU seconds with children, the peak of the run and not of what came before."""

import subprocess
import sys
import time

import numpy as np

from nuggets_ray.bench.worker import cpu_seconds, measured


def burn(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_cpu_seconds_are_work_and_not_waiting() -> None:
    _, waiting = measured(lambda: time.sleep(0.3))
    assert waiting.wall_s >= 0.3 and waiting.cpu_s < 0.2
    result, working = measured(lambda: burn(0.3) or "done")
    assert result == "done" and 0.3 <= working.cpu_s < 3


def test_children_count_alive_and_ended() -> None:
    code = "import time\nt = time.process_time() + 0.4\nwhile time.process_time() < t: pass\n"
    before = cpu_seconds()
    subprocess.run([sys.executable, "-c", code], check=True)
    assert cpu_seconds() - before >= 0.3
    before = cpu_seconds()
    child = subprocess.Popen(
        [sys.executable, "-c", code + "print(1, flush=True)\ninput()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout and child.stdin
    child.stdout.readline()
    alive = cpu_seconds() - before
    child.communicate(b"\n")
    assert alive >= 0.3


def test_the_peak_is_that_of_the_run() -> None:
    def use(num_mib: int) -> int:
        return int(np.ones(num_mib * 2**17).sum())

    _, large = measured(lambda: use(400))
    _, small = measured(lambda: use(1))
    assert large.peak_gib - small.peak_gib > 0.3
