"""How fast work goes: rates over computing time, now and over all, and when it will be done.

Time in which nothing computes (starting, loading a model, waiting for a node) does not count, so
that slow and stuck differ, and an estimate does not begin with the start-up in it.
"""

import time
from collections import deque
from collections.abc import Callable

from nuggets_ray.run.stage_status import WorkDone
from nuggets_ray.units import duration_text

WINDOW_S = 120.0
"""The rate now is that of so many last seconds of computing."""


class Meter:
    """Counts `unit` (in the plural) up to `num_total`, of which `num_reused` were there at the
    start.
    """

    def __init__(
        self,
        unit: str,
        num_total: int,
        num_reused: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.unit, self.num_total, self.num_reused = unit, num_total, num_reused
        self.num_computed = self._num_timed = 0
        self.computing_s = 0.0
        self._clock, self._last_s = clock, clock()
        self._was_computing = False
        self._marks: deque[tuple[float, int]] = deque([(0.0, 0)])

    def count(self, num_more: int, is_computing: bool = True) -> None:
        """So many more are done; `is_computing`: whether anyone computes from now on.

        What was done before anyone was known to compute is done, and in no rate.
        """
        now_s = self._clock()
        self.num_computed += num_more
        if self._was_computing:
            self.computing_s += now_s - self._last_s
            self._num_timed += num_more
            if num_more:
                self._marks.append((self.computing_s, self._num_timed))
        self._last_s, self._was_computing = now_s, is_computing
        while len(self._marks) > 2 and self._marks[1][0] <= self.computing_s - WINDOW_S:
            self._marks.popleft()

    def work(self) -> WorkDone:
        """Where it stands. Rates are None before the first is done."""
        done = min(self.num_reused + self.num_computed, self.num_total)
        rate = self._num_timed / self.computing_s if self.computing_s else 0.0
        begun_s, num_begun = self._marks[0]
        span_s = self.computing_s - begun_s
        now = (self._num_timed - num_begun) / span_s if span_s else 0.0
        eta_s = (self.num_total - done) / now if now else None
        return WorkDone(
            unit=self.unit,
            num_done=done,
            num_total=self.num_total,
            num_reused=self.num_reused,
            rate_now=now if rate else None,
            rate=rate or None,
            eta_s=eta_s,
        )


def eta_text(seconds: float | None) -> str:
    """When it will be done, as people say it."""
    return "unknown" if seconds is None else duration_text(seconds)
