"""Ray without the lines that are nobody's business, so that the log is the run's own.

Ray's C++ writes to the process's stderr, past Python. What it means for its log files stays there.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

QUIET = {
    # Ray's C++ would print that restarted actors need their arguments; the driver holds them
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    # gRPC's, of connections that end with a node or a worker
    "GRPC_VERBOSITY": "NONE",
    "GLOG_minloglevel": "3",
}
NOISE = (
    b"Set ray log level from environment variable",  # the answer to the first of them
    b"All log messages before absl::InitializeLog() is called",
)


def set_quiet() -> None:
    """Set what Ray and gRPC read, where the user has not."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


@contextmanager
def without_noise() -> Iterator[None]:
    """For the time of the context, what is written to stderr past Python comes out a line at a
    time, and without the lines of NOISE.

    Processes that start within it may keep the pipe: it is read for as long as they hold it.
    """
    stderr = os.dup(2)
    read_end, write_end = os.pipe()
    os.dup2(write_end, 2)
    os.close(write_end)
    reader = threading.Thread(target=_pass_on, args=(read_end, stderr), name="stderr", daemon=True)
    reader.start()
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        reader.join(0.2)  # so that lines keep their order; it lives on where a child holds the pipe


def _pass_on(read_end: int, stderr: int) -> None:
    with os.fdopen(read_end, "rb") as lines, os.fdopen(stderr, "wb", buffering=0) as out:
        for line in lines:
            if not any(noise in line for noise in NOISE):
                out.write(line)
