"""Results as Markdown tables and as rows {case, contender, metric, value, unit}; the hardware line;
the log.

Figures are medians over the repeats, peaks the largest.
"""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

import numpy as np
import psutil

from nuggets_ray.bench.plan import BenchResults, Contender, Plan, Reading
from nuggets_ray.bench.rows import Row, make_row, write_text

INTERRUPTED = "not measured: interrupted before"
LOG_HEAD = "# Bench log\n\nDated tables, appended by `python jobs/bench.py bench.log=FILE`.\n"


@dataclass(frozen=True, slots=True)
class Comparison:
    """In `case`, the cost of `contender` over that of `base`."""

    case: str
    contender: str
    base: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison and its ratio, the median over the repeats; None where either has no figures."""

    comparison: Comparison
    ratio: float | None


def median_of(readings: Sequence[Reading], value: Callable[[Reading], float]) -> float:
    """The median of `value` over the readings."""
    return float(median(value(reading) for reading in readings))


def compare(comparison: Comparison, results: BenchResults, device: str) -> Compared:
    """CPU seconds over CPU seconds of the same repeat (wall seconds on a GPU)."""

    def costs(contender: str) -> dict[int, float]:
        return {
            r.repeat: r.cost.wall_s if device == "cuda" else r.cost.cpu_s
            for r in results.readings
            if (r.case, r.contender) == (comparison.case, contender)
        }

    theirs, ours = costs(comparison.contender), costs(comparison.base)
    ratios = [theirs[repeat] / ours[repeat] for repeat in theirs.keys() & ours.keys()]
    return Compared(comparison, float(median(ratios)) if ratios else None)


def cost_rows(plan: Plan, results: BenchResults) -> list[Row]:
    """Rows of every contender in every case of the plan: its costs, or why there are none."""
    rows: list[Row] = []
    for case, contenders in plan.cases.items():
        work = plan.works[case]
        rows.append(make_row(case, "", "anchor_tokens", work.num_anchor_tokens, "tokens"))
        rows.append(make_row(case, "", "answer_tokens", work.num_answer_tokens, "tokens"))
        for contender in contenders:
            readings = readings_of(results, case, contender)
            if contender.kind in results.differences:
                off = results.differences[contender.kind]
                rows.append(make_row(case, contender.name, "float32_difference", off, "nats"))
            if len(readings) < plan.repeats:
                reason = results.reasons.get(contender.name, INTERRUPTED)
                rows.append(make_row(case, contender.name, "status", reason, ""))
            if readings:
                rows += [
                    make_row(case, contender.name, metric, value, unit)
                    for metric, value, unit in _costs(readings)
                ]
    return rows


def _costs(readings: Sequence[Reading]) -> list[tuple[str, float, str]]:
    costs = [
        ("cpu_s", median_of(readings, lambda r: r.cost.cpu_s), "s"),
        ("wall_s", median_of(readings, lambda r: r.cost.wall_s), "s"),
        ("peak_memory", max(r.cost.peak_gib for r in readings), "GiB"),
        ("repeats", len(readings), ""),
    ]
    costs += [
        (name, median(r.run.counts[name] for r in readings), "") for name in readings[0].run.counts
    ]
    gpu_peak = max(r.cost.gpu_peak_gib for r in readings)
    return [*costs, ("peak_gpu_memory", gpu_peak, "GiB")] if gpu_peak else costs


def readings_of(results: BenchResults, case: str, contender: Contender) -> list[Reading]:
    """The readings of a contender in a case."""
    return [r for r in results.readings if (r.case, r.contender) == (case, contender.name)]


def short_reason(results: BenchResults, *contenders: str) -> str:
    """Why a figure is missing, in a word or two, for a cell; `reasons_text` tells it in full."""
    reasons = [results.reasons[name] for name in contenders if name in results.reasons]
    return (reasons or [INTERRUPTED])[0].partition(":")[0]


def reasons_text(results: BenchResults) -> str:
    """A line for each contender that has no figures, or not all, and why."""
    lines = [f"* {name}: {reason}" for name, reason in results.reasons.items()]
    if results.interrupted:
        lines.append("* interrupted: what is missing was not measured, and medians may be of fewer")
    return "\n".join(lines)


def compared_rows(compared: Sequence[Compared]) -> list[Row]:
    """The ratio of each comparison that has one."""
    return [
        make_row(
            one.comparison.case,
            one.comparison.contender,
            f"ratio to {one.comparison.base}",
            one.ratio,
            "x",
        )
        for one in compared
        if one.ratio is not None
    ]


def difference_from(base: str, readings: Sequence[Reading], results: BenchResults) -> float | None:
    """Mean |difference| of the readings' log-probs from those of `base` in the same runs, in
    nats."""
    others = {
        (r.case, r.repeat): r.run.log_probs_CA for r in results.readings if r.contender == base
    }
    ratios = [
        np.abs(r.run.log_probs_CA - others[r.case, r.repeat]).mean()
        for r in readings
        if (r.case, r.repeat) in others
    ]
    return float(np.mean(ratios)) if ratios else None


def hardware(device: str, threads: int) -> str:
    """One line: processor, cores, instructions, memory, GPU, versions."""
    import torch

    capabilities = torch.cpu.get_capabilities()
    bf16 = [name for name in ("amx_bf16", "avx512_bf16", "bf16") if capabilities.get(name)]
    gpu = torch.cuda.get_device_name() if device == "cuda" else "no GPU used"
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{_processor()}, {os.cpu_count()} cores ({bf16[0] if bf16 else 'no bf16 instructions'}), "
        f"{memory:.0f} GiB, {gpu}; {threads} thread{'s' * (threads > 1)} a contender; "
        f"Python {platform.python_version()}, "
        + ", ".join(f"{name} {_version(name)}" for name in ("torch", "transformers"))
    )


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2] for line in text.splitlines() if line.startswith("model name")]
    return names[0].strip() if names else platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


def append_log(path: str, title: str, text: str) -> None:
    """Append a section of today to the Markdown file, which is made if need be."""
    section = f"\n## {datetime.now(UTC):%Y-%m-%d} {title}\n\n{text.strip()}\n"
    write_text("bench.log", path, section if os.path.exists(path) else LOG_HEAD + section, "a")
