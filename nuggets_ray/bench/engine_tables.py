"""The tables of bench=engine: shares of the matrix rate, the GPU's figures, where the time goes.

    share = useful FLOP a second / FLOP a second of one of
        the model's own matrix products: their mean by FLOP, and all of them in turn
        on a GPU a dense product of 8,192-squares, measured in the same run: the bar is on this one
        on a GPU its data sheet
A second is a CPU second on a CPU, a wall second on a GPU.
"""

from collections.abc import Mapping, Sequence

import torch

from nuggets_ray.bench.flop import data_sheet_flops
from nuggets_ray.bench.plan import BenchResults, Contender, Plan, Reading
from nuggets_ray.bench.random_models import BARS, SIZES
from nuggets_ray.bench.rows import Row, format_number, make_row
from nuggets_ray.bench.tables import (
    Compared,
    Comparison,
    compare,
    hardware,
    median_of,
    readings_of,
    reasons_text,
    short_reason,
)
from nuggets_ray.markdown import markdown_table

NOTES = """\
Useful FLOP: 2 x non-embedding parameters x every demonstration and anchor token once, the visible
pairs of attention, the vocabulary projection at answer tokens. Matrices alone: the model's own
shapes at the rows that the engine gives them, weighted by their FLOP, timed before and after each
run in the same process. In turn: against the time that all of them take one after another. Dense,
on a GPU: against a product of two 8,192-squares, timed with them."""


def flops(reading: Reading, device: str) -> float:
    """Useful FLOP a second."""
    assert reading.run.useful_flop is not None
    seconds = reading.cost.wall_s if device == "cuda" else reading.cost.cpu_s
    return reading.run.useful_flop / seconds


def share(reading: Reading, rate: str, device: str) -> float:
    """Useful FLOP a second over a rate: the model's matrices' (`mean`, `in_turn`) or `dense`."""
    return flops(reading, device) / reading.rates[rate]


def figures(readings: Sequence[Reading], device: str) -> dict[str, tuple[float, str]]:
    """Metric -> (median, unit)."""
    second = "s" if device == "cuda" else "CPU s"
    dense = {}
    if all("dense" in reading.rates for reading in readings):
        dense = {
            "dense_rate": (median_of(readings, lambda r: r.rates["dense"]), f"FLOP/{second}"),
            "share_of_dense": (median_of(readings, lambda r: share(r, "dense", device)), ""),
        }
    return dense | {
        "useful_flop": (median_of(readings, lambda r: r.run.useful_flop or 0.0), "FLOP"),
        "useful_rate": (median_of(readings, lambda r: flops(r, device)), f"FLOP/{second}"),
        "matrix_rate": (median_of(readings, lambda r: r.rates["mean"]), f"FLOP/{second}"),
        "share": (median_of(readings, lambda r: share(r, "mean", device)), ""),
        "share_in_turn": (median_of(readings, lambda r: share(r, "in_turn", device)), ""),
    }


def share_rows(plan: Plan, results: BenchResults) -> list[Row]:
    """Rows of the figures, and of the share of the data sheet's rate where that is known."""
    rows = []
    for case, contender, readings in _measured(plan, results):
        figure_of = figures(readings, plan.task.device)
        rows += [
            make_row(case, contender.name, metric, *figure) for metric, figure in figure_of.items()
        ]
        if sheet := _data_sheet(plan):
            rows.append(
                make_row(case, contender.name, "mfu", figure_of["useful_rate"][0] / sheet, "")
            )
    return rows


def gpu_rows(plan: Plan) -> list[Row]:
    """A row for each GPU figure that this run does not have, saying why."""
    return [
        make_row(model, "tree", "status", _why_not(plan), "")
        for model in SIZES
        if plan.task.model_path != model
    ]


def _why_not(plan: Plan) -> str:
    if plan.task.device == "cuda":
        return f"not measured: this run is of {plan.task.model_path}; set model.path"
    return "not measured: no GPU here"


def text(plan: Plan, results: BenchResults, profile: Mapping[str, float], model_name: str) -> str:
    """The whole report as Markdown."""
    dtype = plan.contenders[0].dtype
    parts = [
        f"{hardware(plan.task.device, plan.task.threads)}.",
        f"Model {model_name} in {dtype}; {plan.note}; medians of {plan.repeats} runs, of "
        f"{plan.candidates_a_run} candidate{'s' * (plan.candidates_a_run > 1)} each.",
        _share_table(plan, results),
        reasons_text(results),
        _signals_text(plan, results),
        _gpu_table(plan, results),
        NOTES,
    ]
    if profile:
        parts.append(_profile_table(profile))
    made = [f"* {contender.name}: {contender.made_fast}" for contender in plan.contenders]
    return "\n\n".join([part for part in parts if part] + ["\n".join(made)])


def _share_table(plan: Plan, results: BenchResults) -> str:
    on_gpu = plan.task.device == "cuda"
    unit, scale = ("TFLOP/s", 1e12) if on_gpu else ("GFLOP / CPU s", 1e9)
    header = ["case", "engine", "CPU s", "wall s", "GiB", f"useful {unit}", "matrices alone"]
    header += ["share of it", "in turn", *(["dense rate", "share of it", "data sheet"] * on_gpu)]
    rows = []
    for case, contender, readings in _measured(plan, results):
        figure_of = {
            name: value for name, (value, _) in figures(readings, plan.task.device).items()
        }
        peak = max(r.cost.gpu_peak_gib if on_gpu else r.cost.peak_gib for r in readings)
        rows.append(
            [
                case,
                contender.name,
                format_number(median_of(readings, lambda r: r.cost.cpu_s)),
                format_number(median_of(readings, lambda r: r.cost.wall_s)),
                format_number(peak),
                format_number(figure_of["useful_rate"] / scale),
                format_number(figure_of["matrix_rate"] / scale),
                f"{figure_of['share']:.1%}",
                f"{figure_of['share_in_turn']:.1%}",
                *(_of_the_gpu(figure_of, _data_sheet(plan), scale) if on_gpu else []),
            ]
        )
    for case, contenders in plan.cases.items():
        for contender in contenders:
            if not readings_of(results, case, contender):
                why = short_reason(results, contender.name)
                rows.append([case, contender.name, why, *["-"] * (len(header) - 3)])
    return markdown_table(header, rows)


def _of_the_gpu(figure_of: Mapping[str, float], sheet: float | None, scale: float) -> list[str]:
    return [
        format_number(figure_of["dense_rate"] / scale),
        f"{figure_of['share_of_dense']:.1%}",
        f"{figure_of['useful_rate'] / sheet:.1%}" if sheet else "-",
    ]


def of_signals(plan: Plan, results: BenchResults) -> list[Compared]:
    """What signals cost beside the scores, in each case that has both."""
    names = {case: [one.name for one in contenders] for case, contenders in plan.cases.items()}
    return [
        compare(Comparison(case, "tree_signals", "tree"), results, plan.task.device)
        for case, there in names.items()
        if {"tree", "tree_signals"} <= set(there)
    ]


def _signals_text(plan: Plan, results: BenchResults) -> str:
    costs = [
        f"{one.comparison.case} {one.ratio:.3f}"
        for one in of_signals(plan, results)
        if one.ratio is not None
    ]
    second = "wall" if plan.task.device == "cuda" else "CPU"
    told = ", ".join(costs)
    return f"{second} seconds with signals over those without: {told}." if costs else ""


def _gpu_table(plan: Plan, results: BenchResults) -> str:
    rows = [[row["case"], f"{BARS[str(row['case'])]:.0%}", row["value"]] for row in gpu_rows(plan)]
    model, device = plan.task.model_path, plan.task.device
    if model in BARS and device == "cuda":
        rows += [
            [f"{model}, {case}", f"{BARS[model]:.0%}", f"{reached[0]:.1%}"]
            for case, contender, readings in _measured(plan, results)
            if contender.kind == "tree"
            and (reached := figures(readings, device).get("share_of_dense"))
        ]
    header = ["on a GPU", "bar: tree's share of the dense rate", "reached"]
    return markdown_table(header, rows) if rows else ""


def _profile_table(profile: Mapping[str, float]) -> str:
    total = sum(profile.values())
    rows = [[group, format_number(s), f"{s / total:.1%}"] for group, s in profile.items()]
    return "Where the time goes (one run of tree, under the profiler):\n\n" + markdown_table(
        ["group", "s", "share"], rows
    )


def _measured(plan: Plan, results: BenchResults) -> list[tuple[str, Contender, list[Reading]]]:
    readings_of_all = [
        (case, contender, readings_of(results, case, contender))
        for case, contenders in plan.cases.items()
        for contender in contenders
    ]
    return [
        (case, contender, readings) for case, contender, readings in readings_of_all if readings
    ]


def _data_sheet(plan: Plan) -> float | None:
    if plan.task.device != "cuda":
        return None
    return data_sheet_flops(torch.cuda.get_device_name())
