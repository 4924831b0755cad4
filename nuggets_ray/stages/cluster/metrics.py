"""Numbers of a run for Prometheus, through Ray's own metrics; docker/grafana_dashboard.json shows
them.

Ray puts `ray_` in front of a name. Each number carries the run (the name of its folder) and the
stage.
"""

import os
from collections.abc import Mapping

from ray.util.metrics import Counter as RayCounter
from ray.util.metrics import Gauge

from nuggets_ray.run.manifest import Run
from nuggets_ray.run.stage_status import WorkDone, WorkerCounts

COUNTERS = {
    "nuggets_candidates": "Candidates scored",
    "nuggets_anchor_tokens": "Tokens of anchors scored",
    "nuggets_wins": "Pairs of candidate and anchor in which the candidate helped",
    "nuggets_skipped_rows": "Rows that could not be scored",
    "nuggets_block_retries": "Blocks begun again because their worker was lost",
    "nuggets_out_of_memory": "Times that memory ran out: packs halved, processes ended",
    "nuggets_workers_lost": "Workers lost",
    "nuggets_train_tokens": "Tokens trained on",
    "nuggets_train_steps": "Optimizer steps",
    "nuggets_answers": "Answers and log-probs of an evaluation",
    "nuggets_judge_requests": "Paid requests to the judge",
    "nuggets_judge_tokens": "Tokens of the judge's prompts and verdicts",
}
GAUGES = {
    "nuggets_work_done": "How much of the stage's work is done, in its own unit",
    "nuggets_work_all": "How much work there is, in the same unit",
    "nuggets_eta_seconds": "When it will be done, in seconds from now",
    "nuggets_workers_wanted": "Workers wanted",
    "nuggets_workers_loading": "Workers that load the model",
    "nuggets_workers_ready": "Workers that work",
    "nuggets_train_loss": "Loss of the last step, in nats per answer token",
    "nuggets_train_eval_loss": "Loss on the held-out rows",
    "nuggets_learning_rate": "Learning rate of the last step",
}
TAGS = ("run", "stage")


class Metrics:
    """The numbers of one stage of a run."""

    def __init__(self, run: Run) -> None:
        name = os.path.basename(run.out_dir.rstrip("/"))
        self._tags = {"run": name, "stage": run.stage}
        self._counters = {key: RayCounter(key, text, TAGS) for key, text in COUNTERS.items()}
        self._gauges = {key: Gauge(key, text, TAGS) for key, text in GAUGES.items()}
        self._totals: dict[str, float] = {}

    def count(self, totals: Mapping[str, float]) -> None:
        """Totals of this attempt so far, under the names of COUNTERS."""
        for name, total in totals.items():
            more = total - self._totals.get(name, 0)
            if more > 0:
                self._counters[name].inc(more, self._tags)
                self._totals[name] = total

    def set(self, values: Mapping[str, float | None]) -> None:
        """Values of now, under the names of GAUGES; None is left as it was."""
        for name, value in values.items():
            if value is not None:
                self._gauges[name].set(value, self._tags)

    def follow(self, work: WorkDone, workers: WorkerCounts | None = None) -> None:
        """What every stage tells."""
        done = {"nuggets_work_done": work.num_done, "nuggets_work_all": work.num_total}
        self.set({**done, "nuggets_eta_seconds": work.eta_s})
        if workers is not None:
            self.count({"nuggets_workers_lost": workers.lost})
            self.set(
                {
                    "nuggets_workers_wanted": workers.wanted,
                    "nuggets_workers_loading": workers.loading,
                    "nuggets_workers_ready": workers.ready,
                }
            )
