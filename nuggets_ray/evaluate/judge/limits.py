"""How much and how fast an endpoint may be asked: the budget, and the requests a minute.

Both are asked before each request, from several threads.
"""

import threading
import time
from collections.abc import Callable


class BudgetSpentError(Exception):
    """The next request could exceed the budget. `key`: the configuration key that limits it."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class Budget:
    """Requests and tokens that may still be spent; None: no limit.

    A request under way counts as one, and its tokens as the most it can take, so the limits hold
    whatever the endpoint answers.
    """

    def __init__(
        self, max_requests: int | None, max_tokens: int | None, num_requests: int, num_tokens: int
    ) -> None:
        self._max_requests, self._max_tokens = max_requests, max_tokens
        self._num_requests, self._num_tokens = num_requests, num_tokens
        self._requests_under_way = 0
        self._tokens_under_way = 0
        self._changed = threading.Condition()

    def take(self, most_tokens: int) -> None:
        """Wait until a request that takes at most so many tokens fits; then it is under way.

        Raises BudgetSpentError where it does not fit with nothing else under way.
        """
        with self._changed:
            while (key := self._exceeded(most_tokens)) is not None:
                if self._requests_under_way == 0:
                    raise BudgetSpentError(key)
                self._changed.wait()
            self._requests_under_way += 1
            self._tokens_under_way += most_tokens

    def settle(self, most_tokens: int, num_requests: int, num_tokens: int) -> None:
        """A request under way has ended and cost this."""
        with self._changed:
            self._requests_under_way -= 1
            self._tokens_under_way -= most_tokens
            self._num_requests += num_requests
            self._num_tokens += num_tokens
            self._changed.notify_all()

    def wait_for_all(self) -> None:
        """Wait until nothing is under way."""
        with self._changed:
            while self._requests_under_way:
                self._changed.wait()

    def _exceeded(self, most_tokens: int) -> str | None:
        requests = self._num_requests + self._requests_under_way + 1
        tokens = self._num_tokens + self._tokens_under_way + most_tokens
        if self._max_requests is not None and requests > self._max_requests:
            return "judge.budget_requests"
        if self._max_tokens is not None and tokens > self._max_tokens:
            return "judge.budget_tokens"
        return None


class RateLimit:
    """Spreads requests evenly over a minute; None: no limit."""

    def __init__(
        self, requests_per_minute: int | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._spacing_s = 60 / requests_per_minute if requests_per_minute else 0.0
        self._clock = clock
        self._next_s = clock()
        self._lock = threading.Lock()

    def delay_s(self) -> float:
        """How long to wait before the next request, whose place in the row is taken by this."""
        with self._lock:
            now_s = self._clock()
            start_s = max(now_s, self._next_s)
            self._next_s = start_s + self._spacing_s
        return start_s - now_s
