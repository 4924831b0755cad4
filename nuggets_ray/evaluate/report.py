"""What an evaluation prints and writes for people to read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nuggets_ray.config.evaluate import EvaluateConfig
from nuggets_ray.evaluate.compare import compare_runs
from nuggets_ray.evaluate.results import Result, Results, read_results
from nuggets_ray.evaluate.tables import results_table


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a method measured and wrote; `text` is shown above the table of results.

    `values` {metric: {model: (N,) value a row}} is what a verdict can be given on, over rows that
    are the same for all models and count by `weights` {metric: (N,)}.
    """

    results: list[Result]
    wrote: list[str]
    text: str = ""
    values: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)


def keep_broader(
    new: Mapping[str, Any] | None, before: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """The new verdict, unless the one before rests on the same models and more."""
    if new is None or before is None:
        return new or before
    is_partial = set(before["numbers"]["values"]) > set(new["numbers"]["values"])
    return before if is_partial else new


def format_report(config: EvaluateConfig, out_dir: str, outcome: Outcome, results: Results) -> str:
    """What is printed: what the method shows, the table, other runs beside it, the verdict."""
    parts = [outcome.text, results_table(results, config.method)]
    if config.compare:
        runs = {out_dir: results}
        parts.append(compare_runs(runs | {run: read_results(run) for run in config.compare}))
    return "\n\n".join(filter(None, [*parts, _verdict_text(results)]))


def format_page(results: Results) -> str:
    """results.md: every number, subsets included, and the verdict."""
    parts = ["# Results", results_table(results), _verdict_text(results)]
    return "\n\n".join(parts).rstrip() + "\n"


def _verdict_text(results: Results) -> str:
    if results.verdict is None:
        return ""
    return f"Verdict ({results.primary}): {results.verdict['paragraph']}"
