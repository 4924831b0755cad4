"""scalability as it is told: the sentences, the tables and the pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from nuggets_ray.config.study import StudyConfig
from nuggets_ray.studies.other_tools import OTHER_TOOLS
from nuggets_ray.studies.page import Report, Table
from nuggets_ray.studies.run_costs import RunCosts
from nuggets_ray.studies.scalability import FULL, MODELLED, CostPoint, Scalability
from nuggets_ray.studies.scalability_pictures import passes_picture, time_picture
from nuggets_ray.units import duration_text, num_text, scaled_text

HOUR_S = 3600


def scalability_report(
    found: Scalability, costs: RunCosts, config: StudyConfig, ran: Mapping[str, str]
) -> Report:
    """`ran`: what is known of the run."""
    largest = max(config.candidates)
    return Report(
        title="What do scoring and selecting cost, up to a million candidates?",
        ran={**ran, **_measurement(costs, config)},
        meaning=[
            _of_size(found, largest, len(costs.anchor_tokens_A)),
            _of_trust(found, costs),
            _of_memory(found, costs, largest),
        ],
        tables=[
            _cost_table(found.points, config.price_per_hour),
            _rehearsal_table(found),
            _others(costs),
        ],
        pictures=[
            time_picture(found.points),
            passes_picture(found.points, largest, _other_passes(costs)),
        ],
        numbers=[
            *({"part": "cost", **asdict(point)} for point in found.points),
            *({"part": "rehearsal", **asdict(one)} for one in found.rehearsals),
        ],
        remarks=_remarks(costs),
    )


def _at(points: Sequence[CostPoint], num: int) -> dict[str, CostPoint]:
    return {p.selector: p for p in points if p.num_candidates == num and p.source == MODELLED}


def _of_size(found: Scalability, largest: int, num_anchors: int) -> str:
    at = _at(found.points, largest)
    full = at[FULL]
    races = [point for name, point in at.items() if name.startswith("race")]
    listed = "; ".join(
        f"a {race.selector.replace(', ', ' for the ')} takes {duration_text(race.worker_s)}, "
        f"{full.tokens / race.tokens:.1f} times less"
        for race in races
    )
    return (
        f"{largest:,} candidates on {num_anchors} anchors are {scaled_text(full.tokens, 'tokens')} "
        f"in full, {duration_text(full.worker_s)} of one worker like this run's, "
        f"{full.pool_passes:,.0f} passes over the pool; {listed} (modelled)."
    )


def _of_trust(found: Scalability, costs: RunCosts) -> str:
    if costs.num_measured:
        text = (
            f"Measured were {costs.num_measured:,} candidates in "
            f"{duration_text(costs.measured_s)} of workers, {num_text(costs.tokens_per_s)} tokens "
            "a second each"
        )
    else:
        text = (
            f"The rate, {num_text(costs.tokens_per_s)} tokens a second a worker, is that of the "
            "run's calibration, as "
            + ("a race was run" if costs.is_race else "no candidate was timed")
        )
    if found.fit_error is not None:
        text += (
            f"; the first half of the run foresees the second within {_percent(found.fit_error)}"
        )
    errors = ", ".join(f"{_percent(error)}" for error in found.race_error.values())
    return (
        f"{text}. The races' model foresees a rehearsal of a third of the rows within {errors}; "
        "beyond the largest rehearsal a race gets no cheaper a row in it, which real ones may."
    )


def _percent(error: float) -> str:
    return f"{100 * abs(error):.0f}%"


def _of_memory(found: Scalability, costs: RunCosts, largest: int) -> str:
    at = _at(found.points, largest)
    race = max(
        (point for name, point in at.items() if name.startswith("race")),
        key=lambda point: point.driver_gib,
    )
    worker = (
        "what a worker needs was not measured (jobs/plan.py with this out_dir does)"
        if costs.worker_gib is None
        else f"a worker needs {costs.worker_gib:.2g} GiB (as jobs/plan.py found)"
    )
    return (
        f"Memory: {worker}, whatever the number of candidates; the driver holds ids and lengths of "
        f"all rows, {at[FULL].driver_gib:.2g} GiB at {largest:,}, and in a race its answers too, "
        f"{race.driver_gib:.2g} GiB in all (counted from what it keeps a row)."
    )


def _measurement(costs: RunCosts, config: StudyConfig) -> dict[str, str]:
    told = {
        "workers": str(costs.num_workers),
        "tokens of a demonstration": f"{costs.demo_tokens_N.mean():.0f} in the mean",
        "tokens of the anchors": f"{costs.anchor_tokens_A.sum():,.0f} in all",
        "largest rehearsal": f"{config.race_rows:,} rows",
    }
    if config.price_per_hour is not None:
        told["price of an hour of a worker"] = f"{config.price_per_hour:g}"
    return told


def _cost_table(points: Sequence[CostPoint], price: float | None) -> Table:
    header = ["selector", "candidates", "", "tokens", "pool passes", "one worker", "driver GiB"]
    rows = []
    for point in sorted(points, key=lambda p: (p.selector, p.num_candidates)):
        cells = [
            point.selector,
            f"{point.num_candidates:,}",
            point.source,
            scaled_text(point.tokens, ""),
            f"{point.pool_passes:.1f}",
            duration_text(point.worker_s),
            f"{point.driver_gib:.2g}",
        ]
        if price is not None:
            cells.append(f"{point.worker_s / HOUR_S * price:,.2f}")
        rows.append(cells)
    caption = "**Costs**: measured on the run, rehearsed without a model, or modelled"
    return Table(caption, header if price is None else [*header, "price"], rows)


def _rehearsal_table(found: Scalability) -> Table:
    rows = [
        [
            f"{100 * one.share:g}%",
            f"{one.num_rows:,}",
            f"{one.full_tokens / one.tokens:.1f}x",
            f"{one.passes / one.num_rows:.0f}",
        ]
        for one in found.rehearsals
    ]
    caption = "**Races rehearsed** among rows like the run's, over its own anchors"
    return Table(caption, ["top", "rows", "fewer tokens than full", "passes a candidate"], rows)


def _other_passes(costs: RunCosts) -> dict[str, float]:
    """Of the tools whose cost is known in passes, on this run's anchors."""
    full = costs.full_tokens / float(costs.demo_tokens_N.mean())
    known = {tool.name: tool.pool_passes for tool in OTHER_TOOLS}
    known |= {tool.name: tool.times_full * full for tool in OTHER_TOOLS if tool.times_full}
    return {name: passes for name, passes in known.items() if passes is not None}


def _others(costs: RunCosts) -> Table:
    full = costs.full_tokens / float(costs.demo_tokens_N.mean())
    passes = _other_passes(costs)
    rows = [
        [tool.name, f"{passes[tool.name]:,.1f}" if tool.name in passes else "-", tool.known]
        for tool in OTHER_TOOLS
    ]
    caption = (
        f"**Other tools**, in passes over the pool (full scoring here: {full:,.1f}); published or "
        "worked out, but for what the bench log measured"
    )
    return Table(caption, ["tool", "pool passes", "known from"], rows)


def _remarks(costs: RunCosts) -> list[str]:
    remarks = [
        "perplexity, ifd and rds are told as what they would cost alone: beside a scoring run "
        "perplexity and rds come from tokens that it reads anyway; golden, posterior and "
        "standardised scores cost nothing beyond the run that they are of",
        "times are of one worker, and w workers take a w-th; starting and loading are not in them",
    ]
    if costs.is_race:
        remarks.append("the run is a race, so nothing of full scoring was measured on it")
    return remarks
