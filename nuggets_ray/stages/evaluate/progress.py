"""Progress of an evaluation: so many answers, log-probs or verdicts of so many, for the log, the
status and Ray's metrics.
"""

import logging
import time

from nuggets_ray.config.evaluate import JudgeConfig
from nuggets_ray.evaluate.judge.cache import KeptVerdicts
from nuggets_ray.run.bar import open_bar
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.meter import Meter, eta_text
from nuggets_ray.run.stage_status import WorkerCounts
from nuggets_ray.run.status_text import format_rate
from nuggets_ray.stages.cluster.metrics import Metrics

logger = logging.getLogger(__name__)


class EvaluationProgress:
    """One phase of an evaluation, which it tells; `unit` in the plural."""

    def __init__(
        self,
        run: Run,
        phase: str,
        unit: str,
        num_total: int,
        num_reused: int = 0,
        interval_s: float = 10.0,
    ) -> None:
        self._run, self._phase, self._interval_s = run, phase, interval_s
        self._meter = Meter(unit, num_total, num_reused)
        self.metrics = Metrics(run)
        self._said = time.monotonic()
        self._bar = open_bar(num_total, num_reused, unit)
        run.tell(phase, work=self._meter.work(), workers=None, numbers={})

    def count(
        self,
        num_more: int,
        workers: WorkerCounts | None = None,
        numbers: dict[str, float | str] | None = None,
    ) -> None:
        """So many more are done (0: time has passed); said once an interval."""
        self._meter.count(num_more, is_computing=workers is None or workers.ready > 0)
        work = self._meter.work()
        self._bar.update(num_more)
        self._run.tell(work=work, workers=workers, numbers=numbers or {})
        self.metrics.follow(work, workers)
        self.metrics.count({"nuggets_answers": self._meter.num_computed})
        is_waiting = workers is not None and not workers.ready  # the workers' own lines tell
        if is_waiting or time.monotonic() - self._said < self._interval_s:
            return
        self._said = time.monotonic()
        rate = format_rate(work.rate_now or 0.0, work.unit)
        line = f"{rate}, ETA {eta_text(work.eta_s)}"
        if self._bar.disable:
            logger.info("%s: %d of %d, %s", self._phase, work.num_done, work.num_total, line)
        else:
            self._bar.set_postfix_str(line)

    def close(self) -> None:
        """End the bar."""
        self._bar.close()


class JudgeProgress:
    """The verdicts of an endpoint's judge, with what they have cost over all runs of the folder."""

    def __init__(
        self, run: Run, config: JudgeConfig, kept: KeptVerdicts, interval_s: float
    ) -> None:
        self._run, self._config, self._kept, self._interval_s = run, config, kept, interval_s
        self._progress: EvaluationProgress | None = None
        self._num_done = 0

    def follow(self, num_done: int, num_asked: int) -> None:
        """So many of the verdicts that were to ask are there."""
        if self._progress is None:
            phase = f"{self._config.model} judges"
            self._progress = EvaluationProgress(
                self._run, phase, "verdicts", num_asked, interval_s=self._interval_s
            )
            self._num_done = 0
        self._progress.count(num_done - self._num_done, numbers=self._numbers())
        self._num_done = num_done
        self._progress.metrics.count(
            {
                "nuggets_judge_requests": self._kept.num_requests,
                "nuggets_judge_tokens": self._kept.num_tokens,
            }
        )

    def close(self) -> None:
        """These verdicts are there, or will not be."""
        if self._progress is not None:
            self._progress.close()
            self._progress = None

    def _numbers(self) -> dict[str, float | str]:
        """Paid requests and tokens, of how many where there is a limit."""
        spent = {"requests": self._kept.num_requests, "tokens": self._kept.num_tokens}
        limits = {
            "requests": self._config.budget_requests,
            "tokens": self._config.budget_tokens,
        }
        return {
            f"judge_{kind}": spent[kind]
            if limit is None
            else f"{spent[kind]:,} of judge.budget_{kind}={limit}"
            for kind, limit in limits.items()
        }
