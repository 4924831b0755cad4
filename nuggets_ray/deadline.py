"""Something that happens where a piece of work takes too long."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def deadline(seconds: float | None, then: Callable[..., object], *arguments: Any) -> Iterator[None]:
    """Call `then` with `arguments`, in a thread of its own, where what is inside is not done within
    so many seconds (None: never)."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, then, arguments)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
