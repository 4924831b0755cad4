"""The loop in which the driver waits for what its workers give: awake all the while for progress,
for Ctrl-C, and for an out_dir that is lost.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from nuggets_ray.run.manifest import Run

POLL_S = 0.5

T = TypeVar("T")
Ready = Sequence[T] | BaseException | None
"""Results (none yet: an empty sequence), an error in their place, or None: there are no more."""


def watch(run: Run, wait: Callable[[float], Ready[T]], tick: Callable[[], object]) -> Iterator[T]:
    """The results of `wait`, which waits so many seconds for them at most, until its end.

    `tick` is called after each wait, once its results are dealt with. Raises FileNotFoundError
    when out_dir is lost, KeyboardInterrupt when the run is interrupted, and only then the
    error that `wait` gives, which may be of their making.
    """
    while True:
        ready = wait(POLL_S)
        if run.lost.is_set():
            raise FileNotFoundError(run.out_dir)
        if run.interrupted.is_set():
            raise KeyboardInterrupt
        if isinstance(ready, BaseException):
            raise ready
        if ready is None:
            return
        yield from ready
        tick()


class Producer(threading.Thread, Generic[T]):
    """A thread that works through an iterable, whose `wait` is one for `watch`."""

    def __init__(self, results: Iterable[T], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._results = results
        self._queue: queue.Queue[Ready[T]] = queue.Queue()

    def run(self) -> None:
        try:
            for result in self._results:
                self._queue.put((result,))
            self._queue.put(None)
        except BaseException as error:  # the thread that watches raises it
            self._queue.put(error)

    def wait(self, timeout_s: float) -> Ready[T]:
        """The next result."""
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return ()
