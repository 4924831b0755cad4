"""A judge behind an endpoint: requests in threads, tried again, limited, kept, and within a budget.

Whatever ends it (an error, the budget, Ctrl-C), the requests under way are waited for and kept, for
they are paid for.
"""

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for

from nuggets_ray.config.evaluate import JudgeConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.judge.cache import KeptVerdicts, found_text, verdict_key
from nuggets_ray.evaluate.judge.client import (
    Completion,
    Endpoint,
    LostError,
    RefusedError,
    request_settings,
)
from nuggets_ray.evaluate.judge.judge import About, JudgeTask
from nuggets_ray.evaluate.judge.limits import Budget, BudgetSpentError, RateLimit
from nuggets_ray.evaluate.judge.prompts import Conversation

logger = logging.getLogger(__name__)

WAIT_S = 1.0
FIRST_BACKOFF_S, MAX_BACKOFF_S = 1.0, 60.0
MESSAGE_TOKENS = 16
"""More than any chat template puts around a message."""


class StoppedError(Exception):
    """Another thread's request has failed, or the run was interrupted."""


class EndpointJudge:
    """An `Ask` (judge.py). `wait` sleeps so many seconds; by default it wakes up when all ends,
    which sets `stopped`.
    `follow` is told, once a second, how many of so many verdicts that were to ask are there.
    """

    def __init__(
        self,
        config: JudgeConfig,
        out_dir: str,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._config = config
        self._model = config.model or ""
        self._settings = request_settings(config)
        self.kept = KeptVerdicts(out_dir)
        self._budget = Budget(
            config.budget_requests,
            config.budget_tokens,
            self.kept.num_requests,
            self.kept.num_tokens,
        )
        self._rate = RateLimit(config.requests_per_minute)
        self.stopped = threading.Event()
        self._wait = wait or self.stopped.wait
        self.follow: Callable[[int, int], object] = lambda num_done, num_asked: None

    def __call__(self, tasks: Sequence[JudgeTask]) -> list[str]:
        """The judge's texts in order; what is kept is not asked again.

        Raises UserError for an endpoint that cannot be used and where the budget is spent; what
        was answered by then is kept.
        """
        keys = [verdict_key(self._model, task.conversation, self._settings) for task in tasks]
        missing: dict[str, JudgeTask] = {}
        for key, task in zip(keys, tasks, strict=True):
            if self.kept.find(key) is None:
                missing.setdefault(key, task)
        if missing:
            logger.info(
                "judge: %d verdicts are kept, %d to ask", len(keys) - len(missing), len(missing)
            )
            try:
                self._ask_all(missing)
            except BudgetSpentError as error:
                raise self._budget_spent(error.key, keys) from error
            finally:
                self.kept.compact()
        return [found_text(self.kept, key) for key in keys]

    def _ask_all(self, missing: Mapping[str, JudgeTask]) -> None:
        self.stopped.clear()
        with (
            Endpoint(self._config) as endpoint,
            ThreadPoolExecutor(self._config.concurrency, "judge") as executor,
        ):
            try:
                futures = [
                    executor.submit(self._ask_one, endpoint, key, task)
                    for key, task in missing.items()
                ]
                _follow(futures, self.follow)
            except BaseException:
                self.stopped.set()
                executor.shutdown(wait=True, cancel_futures=True)
                # an interrupt while a thread starts makes the executor forget that thread
                self._budget.wait_for_all()
                raise

    def _ask_one(self, endpoint: Endpoint, key: str, task: JudgeTask) -> None:
        try:
            self._try_until_kept(endpoint, key, task)
        except StoppedError:
            # what stopped it is raised by its own thread
            return
        except BaseException:
            # before this thread takes the next verdict
            self.stopped.set()
            raise

    def _try_until_kept(self, endpoint: Endpoint, key: str, task: JudgeTask) -> None:
        """One verdict, tried again until it is there, and kept."""
        most_tokens = self._most_tokens(task.conversation)
        failure = ""
        for attempt in range(self._config.max_retries + 1):
            self._pause(self._rate.delay_s())
            self._budget.take(most_tokens)
            paid_requests, paid_tokens, retry_after_s = 0, 0, None
            try:
                self._check_not_stopped()
                completion = endpoint.complete(task.conversation)
                paid_requests, paid_tokens = 1, completion.num_tokens or 0
                self._keep(key, completion, task.about)
                return
            except LostError as error:
                failure = str(error)
                paid_requests, paid_tokens = 1, most_tokens
                self.kept.keep(None, None, most_tokens, self._model, task.about)
            except RefusedError as error:
                failure, retry_after_s = str(error), error.retry_after_s
            finally:
                self._budget.settle(most_tokens, paid_requests, paid_tokens)
            logger.warning("judge: try %d: %s", attempt + 1, failure)
            if attempt < self._config.max_retries:
                self._pause(backoff_s(attempt, retry_after_s))
        raise UserError(
            f"judge.url={self._config.url} gave no verdict in {self._config.max_retries + 1} tries "
            f"(the last: {failure}): {self.kept.num_verdicts} verdicts are kept in "
            f"{self.kept.folder}: start again later, or raise judge.max_retries or judge.timeout_s"
        )

    def _keep(self, key: str, completion: Completion, about: About) -> None:
        self.kept.keep(key, completion.text, completion.num_tokens, self._model, about)
        if completion.num_tokens is None and self._config.budget_tokens is not None:
            raise UserError(
                f"judge.budget_tokens={self._config.budget_tokens}: judge.url={self._config.url} "
                "does not say how many tokens it used, so the budget cannot be kept: give "
                "judge.budget_requests instead"
            )

    def _most_tokens(self, conversation: Conversation) -> int:
        """A token is at least a byte of the prompt."""
        num_bytes = sum(len(message.text.encode("utf-8")) for message in conversation)
        limit = self._settings.get("max_completion_tokens") or self._settings.get("max_tokens")
        longest = limit if isinstance(limit, int) else self._config.max_tokens
        return num_bytes + MESSAGE_TOKENS * (len(conversation) + 1) + longest

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self._wait(seconds)
        self._check_not_stopped()

    def _check_not_stopped(self) -> None:
        if self.stopped.is_set():
            raise StoppedError

    def _budget_spent(self, key: str, keys: Sequence[str]) -> UserError:
        limit = getattr(self._config, key.removeprefix("judge."))
        num_there = sum(self.kept.find(k) is not None for k in keys)
        return UserError(
            f"{key}={limit} is spent ({self.kept.num_requests} requests and "
            f"{self.kept.num_tokens} tokens over all runs in this out_dir, and the next request "
            f"could exceed it): {num_there} of {len(keys)} verdicts are there and kept in "
            f"{self.kept.folder}: raise {key} to go on"
        )


def backoff_s(attempt: int, retry_after_s: float | None) -> float:
    """How long to wait after try `attempt` (from 0): twice as long each time, give or take a half,
    so that threads refused together do not come back together; at least what the endpoint asks for.
    """
    longest_s = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(attempt, 10))
    return longest_s * random.uniform(0.5, 1.5) + (retry_after_s or 0.0)


def _follow(futures: Sequence["Future[None]"], follow: Callable[[int, int], object]) -> None:
    """Wait for all, and tell how far they are; the first error is raised at once."""
    pending = set(futures)
    while pending:
        # in short waits: a signal just before a wait begins is not seen until the wait ends
        done, pending = wait_for(pending, timeout=WAIT_S, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()
        follow(len(futures) - len(pending), len(futures))
