"""How long the rounds of a race take, kept with the attempt in the manifest: an attempt that is
killed within a round has told of those before it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nuggets_ray.run.manifest import Run


class RoundTimes:
    """Seconds a round, of which a worker waited: while the round was planned all of them, at its
    end those that found no block any more."""

    def __init__(
        self, run: Run, num_workers: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._run, self._num_workers, self._clock = run, max(num_workers, 1), clock
        self._rounds: list[dict[str, float]] = []
        self._planning_since = clock()

    @contextmanager
    def of(self, number: int, idle_worker_s: Callable[[], float]) -> Iterator[None]:
        """Time the computing of round `number`; `idle_worker_s` tells the seconds that workers had
        no block so far, summed over them."""
        planned_s = self._clock() - self._planning_since
        idle_s = idle_worker_s()
        try:
            yield
        finally:
            now = self._clock()
            waited_s = planned_s + (idle_worker_s() - idle_s) / self._num_workers
            self._rounds.append(
                {
                    "number": number,
                    "seconds": round(now - self._planning_since, 2),
                    "waited_s": round(waited_s, 2),
                }
            )
            self._planning_since = now
            self._run.update(rounds=self._rounds)
