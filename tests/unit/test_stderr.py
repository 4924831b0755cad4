"""Lines past Python's stderr: the noise is left out, the rest comes through."""

import os
import subprocess
import sys

import pytest

from nuggets_ray.stderr import QUIET, set_quiet, without_noise

WRITES = """
import os, subprocess, sys
from nuggets_ray.stderr import without_noise

with without_noise():
    os.write(2, b"[logging.cc:303] Set ray log level from environment variable X to 3\\n")
    os.write(2, b"an error of Ray's\\n")
    child = subprocess.Popen(["bash", "-c", "sleep 1; echo from a child >&2"])
    print("from Python", file=sys.stderr, flush=True)
os.write(2, b"afterwards\\n")
child.wait()
import time
time.sleep(0.2)
"""


@pytest.mark.long
def test_the_noise_is_left_out_and_nothing_else() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WRITES], capture_output=True, text=True, timeout=60, check=True
    )
    lines = ["an error of Ray's", "from Python", "afterwards", "from a child"]
    assert ended.stderr.splitlines() == lines


def test_stderr_is_given_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError), without_noise():
        raise ValueError
    os.write(2, b"heard\n")
    assert "heard\n" in capfd.readouterr().err


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in QUIET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_BACKEND_LOG_LEVEL", "debug")
    set_quiet()
    assert os.environ["RAY_BACKEND_LOG_LEVEL"] == "debug"
    assert os.environ["GRPC_VERBOSITY"] == QUIET["GRPC_VERBOSITY"]
