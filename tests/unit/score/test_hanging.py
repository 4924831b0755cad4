"""A process that ends itself where a call hangs."""

import subprocess
import sys

SCRIPT = """
import time
from nuggets_ray.score.hanging import ends_after

def tell(seconds):
    print(f"over {seconds} s", flush=True)
    TELLING

with ends_after(SECONDS, tell):
    time.sleep(0.2)
print("still there", flush=True)
time.sleep(0.5)
"""


def run(seconds: str, telling: str = "") -> subprocess.CompletedProcess[str]:
    script = SCRIPT.replace("SECONDS", seconds).replace("TELLING", telling)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)


def test_a_call_that_hangs_ends_the_process_once_it_has_told() -> None:
    ended = run("0.05")
    assert (ended.returncode, ended.stdout) == (1, "over 0.05 s\n")
    assert run("0.05", "raise OSError").returncode == 1


def test_one_that_comes_back_does_not() -> None:
    for seconds in ("0.4", "None"):
        ended = run(seconds)
        assert (ended.returncode, ended.stdout) == (0, "still there\n")
