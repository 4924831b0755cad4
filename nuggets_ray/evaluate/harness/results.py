"""The harness's numbers as results: every metric of every task and group, with its interval.

A mean of values within [0, 1] has Wilson's interval, which stays there; another mean the
bootstrap's. What is no mean (perplexity, F1) has the harness's standard error, as 1.96 of them to
either side within the metric's range, and like every mean but shares none below 30 rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from nuggets_ray.evaluate import stats
from nuggets_ray.evaluate.harness.tasks import BENCHMARK, TaskSettings
from nuggets_ray.evaluate.results import Result

Z_95 = 1.959964
RANGES = {
    **{"f1": (0.0, 1.0), "mcc": (-1.0, 1.0), "brier_score": (0.0, 2.0)},
    **{"bleu": (0.0, 100.0), "chrf": (0.0, 100.0), "ter": (0.0, np.inf)},
    **dict.fromkeys(("perplexity", "word_perplexity", "byte_perplexity"), (1.0, np.inf)),
    "bits_per_byte": (0.0, np.inf),
}
"""Of the harness's metrics that are no means over rows."""
Samples = Mapping[str, Sequence[Mapping[str, Any]]]


def to_results(
    name: str, settings: TaskSettings, evaluated: Mapping[str, Any], samples: Samples, dtype: str
) -> list[Result]:
    """Every metric of every task as "task/metric" under the model `name`; n of a group counts the
    rows of all its tasks. `evaluated` has "task_hashes".
    """
    generation = {k: v for k, v in asdict(settings).items() if k not in ("task", "tasks_sha256")}
    results = []
    for task, values in evaluated["results"].items():
        leaves = _leaves(task, evaluated.get("group_subtasks", {}))
        hashes = evaluated["task_hashes"]
        for metric, filter_name in _metrics(values):
            rows = [_row_values(samples[leaf], metric, filter_name) for leaf in leaves]
            is_task = leaves == [task]
            value = float(values[f"{metric},{filter_name}"])
            error = values.get(f"{metric}_stderr,{filter_name}")
            bounds, num_rows = _bounds(
                metric, value, error if isinstance(error, float) else None, rows, is_task,
                settings.seed,
            )  # fmt: skip
            low, high = bounds or (None, None)
            results.append(
                Result(
                    model=name,
                    benchmark=BENCHMARK,
                    metric=f"{task}/{metric}"
                    + ("" if filter_name == "none" else f",{filter_name}"),
                    value=value,
                    n=num_rows,
                    low=low,
                    high=high,
                    generation={**generation, "dtype": dtype},
                    data={leaf: hashes[leaf] for leaf in leaves},
                    details={
                        "version": evaluated.get("versions", {}).get(task),
                        "num_fewshot": evaluated.get("n-shot", {}).get(task),
                        "lm_eval": evaluated.get("lm_eval_version"),
                        **({} if bounds else stats.why_no_interval(num_rows)),
                    },
                )
            )
    return results


def _metrics(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(metric, filter) of each number among what the harness says of a task."""
    for key, value in values.items():
        metric, _, filter_name = key.partition(",")
        if filter_name and not metric.endswith("_stderr") and isinstance(value, float | int):
            yield metric, filter_name


def _leaves(name: str, subtasks: Mapping[str, Sequence[str]]) -> list[str]:
    """The tasks of a group, those of groups within it too; of a task the task itself."""
    if not subtasks.get(name):
        return [name]
    leaves = [leaf for child in subtasks[name] for leaf in _leaves(child, subtasks)]
    return list(dict.fromkeys(leaves))


def _row_values(
    samples: Sequence[Mapping[str, Any]], metric: str, filter_name: str
) -> list[float | None]:
    """The metric of each row that has it, None where that is no number (a part of a ratio, say)."""
    found = [row[metric] for row in samples if row["filter"] == filter_name and metric in row]
    return [float(one) if isinstance(one, int | float | np.number) else None for one in found]


def _bounds(
    metric: str,
    value: float,
    error: float | None,
    rows: Sequence[Sequence[float | None]],
    is_task: bool,
    seed: int,
) -> tuple[stats.Bounds | None, int]:
    """The 95% bounds, and how many rows the value rests on. `rows`: the values a row of each of its
    tasks; `is_task`: it is of one task, not of a group.
    """
    flat = [one for of_task in rows for one in of_task]
    value_N = np.array([np.nan if one is None else one for one in flat])
    is_numbers = bool(len(flat)) and bool(np.isfinite(value_N).all())
    is_shares = is_numbers and bool(((value_N >= 0) & (value_N <= 1)).all())
    if is_task and is_numbers and np.isclose(value_N.mean(), value, rtol=1e-9, atol=1e-12):
        interval = stats.share_interval(value_N) if is_shares else None
        return interval or stats.bootstrap_interval(value_N, seed), len(flat)
    if error is None:
        return None, len(flat)
    if not is_task and is_shares and 0 <= value <= 1:
        return stats.share_by_error(value, error, len(flat)), len(flat)
    if len(flat) < stats.MIN_ROWS:
        return None, len(flat)
    low, high = RANGES.get(metric, (-np.inf, np.inf))
    width = Z_95 * error
    return (max(low, value - width), min(high, value + width)), len(flat)
