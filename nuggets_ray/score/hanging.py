"""A worker whose device hangs ends itself, so that Ray starts another in its place.

A call that hangs in a library lets other threads of the process run; one that never does is not
seen from here.
"""

import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager

from nuggets_ray.deadline import deadline

logger = logging.getLogger(__name__)


def ends_after(
    seconds: float | None, tell: Callable[[float], object]
) -> AbstractContextManager[None]:
    """End this process where what is inside takes longer (None: never), once `tell` has been called
    with the seconds."""
    return deadline(seconds, _end, seconds, tell)


def _end(seconds: float, tell: Callable[[float], object]) -> None:
    logger.error("one call has taken %.0f s: this worker ends and is replaced", seconds)
    try:
        tell(seconds)
    finally:
        os._exit(1)
