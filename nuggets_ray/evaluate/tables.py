"""Results of one run as a text table, in Markdown with aligned columns."""

from nuggets_ray.evaluate.results import ALL, Result, Results
from nuggets_ray.markdown import markdown_table

HEADER = ("metric", "subset", "model", "against", "value", "95% interval", "n")


def number_text(value: float | None, sign: str = "") -> str:
    """Four significant digits, with its sign where `sign` is "+"; "unknown" for None."""
    return "unknown" if value is None else f"{value:{sign}.4g}"


def interval_text(result: Result) -> str:
    """The interval in brackets, or why there is none, where that is known."""
    if result.low is None or result.high is None:
        return str(result.details.get("no_interval", ""))
    return f"[{number_text(result.low)}, {number_text(result.high)}]"


def results_table(results: Results, benchmark: str | None = None) -> str:
    """One row a result, the primary metric first, marked *, then whole benchmarks before subsets;
    a line below where nothing was evaluated. Set, judge and prompt version stand with the metric.

    `benchmark`: only that one's rows, without subsets.
    """
    ordered = sorted(
        (r for r in results.results if benchmark in (None, r.benchmark)),
        key=lambda r: (not results.is_primary(r), r.benchmark, r.subset != ALL),
    )
    rows = [
        (
            metric_text(result) + (" *" if results.is_primary(result) else ""),
            result.subset,
            result.model,
            result.against or "",
            number_text(result.value),
            interval_text(result),
            str(result.n),
        )
        for result in ordered
        if benchmark is None or result.subset == ALL
    ]
    note = f"* primary, named before the run: {results.primary}{_pins_text(results)}"
    if not any(map(results.is_primary, results.results)):
        note = f"The primary metric, {results.primary}, has not been evaluated."
    return f"{markdown_table(HEADER, rows)}\n\n{note}" if rows else note


def _pins_text(results: Results) -> str:
    """What the primary metric rests on, in few words."""
    if results.pins is None:
        return ""
    pins = results.pins
    told = [f"{name} {sha256[:8]}" for name, sha256 in pins["data"].items()]
    if pins["judge"]:
        told.append(f"judge {pins['judge']}, prompt {pins['prompt_version']}")
    return f", pinned to {', '.join(told)}, seed {pins['seed']}"


def metric_text(result: Result) -> str:
    """BENCHMARK/METRIC, with the set's name, and who judged by which prompt."""
    judged = [text for text in (result.name, result.judge, result.prompt_version) if text]
    name = f"{result.benchmark}/{result.metric}"
    return f"{name} ({', '.join(judged)})" if judged else name
