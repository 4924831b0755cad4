"""What a race would cost beside full scoring, as facts of the plan. The race's figures are a range,
as nothing is known yet of how unlike the anchors are.

Suffix: N candidates.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from nuggets_ray.config.schema import Config
from nuggets_ray.errors import UserError
from nuggets_ray.records import Anchor
from nuggets_ray.run.funnel import FunnelRound
from nuggets_ray.schedule.race import RaceSettings, why_full
from nuggets_ray.schedule.race_cost import BASIS, GUESSED_SHARE, Cost, Sizes, full_cost, race_cost
from nuggets_ray.schedule.wanted import wanted_rows
from nuggets_ray.score.calibrate import Measured
from nuggets_ray.score.plan import Facts, Hardware
from nuggets_ray.units import duration_text


def race_facts(
    config: Config,
    demonstration_tokens_N: np.ndarray,
    anchors: Sequence[Anchor],
    measured: Measured,
    hardware: Hardware,
    funnel: Sequence[FunnelRound],
) -> Facts:
    """The section of a plan under schedule=race: what the race costs, beside full scoring.

    `demonstration_tokens_N` of all distinct candidates that can be scored; `funnel`: what the
    folder has raced already.
    """
    num_rows, num_anchors = len(demonstration_tokens_N), len(anchors)
    top_k = wanted_rows(config.race, config.select, num_rows)
    reason = why_full(num_rows, num_anchors, top_k)
    if reason is not None:
        return {"nothing to gain": f"{reason}: everything is scored, as under schedule=full"}
    facts: Facts = {"for": _wanted_text(top_k, num_rows)}
    top_k = top_k or max(1, round(GUESSED_SHARE * num_rows))
    sizes, settings = _sizes(demonstration_tokens_N, anchors), _settings(config)
    costs = [*race_cost(sizes, settings, top_k), full_cost(sizes)]
    facts["num_passes"] = _beside([cost.passes for cost in costs])
    facts["num_tokens"] = _beside([cost.tokens for cost in costs])
    hours = [_seconds(cost, measured, hardware) / 3600 for cost in costs]
    facts["hours"] = _beside(hours)
    if config.plan.price_per_hour is not None:
        devices = hardware.num_workers * hardware.devices_per_worker
        facts["price"] = _beside([one * devices * config.plan.price_per_hour for one in hours])
    if funnel and funnel[-1].num_passes_so_far is not None:
        facts["num_passes_asked_already"] = funnel[-1].num_passes_so_far
    facts["keeps"] = (
        f"{1 - config.race.max_loss:.2f} of what full scoring would have kept, expected; how far "
        "two anchor sets of this size agree is told once the pilot has met them"
    )
    facts["rests on"] = BASIS
    return facts


def race_hint(
    config: Config,
    demonstration_tokens_N: np.ndarray,
    anchors: Sequence[Anchor],
    measured: Measured,
    hardware: Hardware,
) -> str | None:
    """Under schedule=full, what a race for the rows that select.* asks for would cost, in a line;
    None where it would gain nothing, or nobody can tell for how many rows it is."""
    num_rows = len(demonstration_tokens_N)
    try:
        top_k = wanted_rows(config.race, config.select, num_rows)
    except UserError:
        return None
    if top_k is None or why_full(num_rows, len(anchors), top_k) is not None:
        return None
    sizes = _sizes(demonstration_tokens_N, anchors)
    costs = race_cost(sizes, _settings(config), top_k)
    low, high = (_seconds(cost, measured, hardware) for cost in costs)
    full = _seconds(full_cost(sizes), measured, hardware)
    return (
        f"schedule=race race.top_k={top_k}: the best {top_k} rows in {duration_text(low)} to "
        f"{duration_text(high)}, {full / high:.1f} to {full / low:.1f} times less"
    )


def _wanted_text(top_k: int | None, num_rows: int) -> str:
    if top_k is None:
        return (
            f"the rows above a golden score; how many is seen on the pilot, here as if "
            f"{GUESSED_SHARE:.0%} were"
        )
    return f"the best {top_k:,} of {num_rows:,} rows ({top_k / num_rows:.2g} of them)"


def _sizes(demonstration_tokens_N: np.ndarray, anchors: Sequence[Anchor]) -> Sizes:
    anchor_tokens = float(np.mean([anchor.encoding.num_tokens for anchor in anchors]))
    demo_tokens = float(demonstration_tokens_N.mean())
    return Sizes(len(demonstration_tokens_N), len(anchors), demo_tokens, anchor_tokens)


def _settings(config: Config) -> RaceSettings:
    race = config.race
    return RaceSettings(None, race.max_loss, pilot=race.pilot, num_blocks=race.rounds)


def _beside(values: Sequence[float]) -> Mapping[str, float]:
    return dict(zip(("race_low", "race_high", "full"), values, strict=True))


def _seconds(cost: Cost, measured: Measured, hardware: Hardware) -> float:
    return cost.tokens / measured.tokens_per_s / hardware.num_workers
