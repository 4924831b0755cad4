"""A worker whose device hangs ends itself, so that Ray starts another in its place.

A call that hangs in a library lets other threads of the process run; one that never does is not
seen from here.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def ends_after(seconds: float | None, tell: Callable[[float], object]) -> Iterator[None]:
    """End this process where what is inside takes longer (None: never), once `tell` has been called
    with the seconds."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, _end, [seconds, tell])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end(seconds: float, tell: Callable[[float], object]) -> None:
    logger.error("one call has taken %.0f s: this worker ends and is replaced", seconds)
    try:
        tell(seconds)
    finally:
        os._exit(1)
