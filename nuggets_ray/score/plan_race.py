"""What a race or an exploration would cost beside full scoring, as facts of the plan. The race's
figures are a range, as nothing is known yet of how unlike the anchors are.

Suffix: N candidates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nuggets_ray.anchors.number import MANY, MANY_FROM
from nuggets_ray.config.schema import RaceConfig, SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.records import Anchor
from nuggets_ray.run.funnel import FunnelRound
from nuggets_ray.schedule.explore import explore_cost, explore_settings, why_not_explore
from nuggets_ray.schedule.race import RaceSettings, why_full
from nuggets_ray.schedule.race_cost import (
    BASIS,
    GUESSED_SHARE,
    RaceCost,
    Sizes,
    full_cost,
    race_cost,
)
from nuggets_ray.schedule.wanted import wanted_rows
from nuggets_ray.score.calibrate import Measured
from nuggets_ray.score.plan import Facts, Hardware
from nuggets_ray.units import duration_text


@dataclass(frozen=True, slots=True)
class Pairs:
    """What would be computed and on what: demonstrations of all distinct candidates that can be
    scored, in tokens, before every anchor."""

    demonstration_tokens_N: np.ndarray
    anchors: Sequence[Anchor]
    measured: Measured
    hardware: Hardware

    @property
    def num_rows(self) -> int:
        return len(self.demonstration_tokens_N)

    @property
    def sizes(self) -> Sizes:
        return Sizes(
            *(self.num_rows, len(self.anchors)),
            demo_tokens=float(self.demonstration_tokens_N.mean()),
            anchor_tokens=float(np.mean([one.encoding.num_tokens for one in self.anchors])),
        )

    def seconds(self, cost: RaceCost) -> float:
        return cost.tokens / self.measured.tokens_per_s / self.hardware.num_workers


def race_facts(
    race: RaceConfig,
    select: SelectConfig,
    pairs: Pairs,
    price_per_hour: float | None,
    funnel: Sequence[FunnelRound],
) -> Facts:
    """The section of a plan under schedule=race: what the race costs, beside full scoring.
    `price_per_hour` is of one device; `funnel` what the folder has raced already.
    """
    num_rows = pairs.num_rows
    top_k = wanted_rows(race, select, num_rows)
    reason = why_full(num_rows, len(pairs.anchors), top_k)
    if reason is not None:
        return {"nothing to gain": f"{reason}: everything is scored, as under schedule=full"}
    facts: Facts = {"for": _wanted_text(top_k, num_rows)}
    top_k = top_k or max(1, round(GUESSED_SHARE * num_rows))
    costs = [*race_cost(pairs.sizes, _settings(race), top_k), full_cost(pairs.sizes)]
    facts["num_passes"] = _beside([cost.passes for cost in costs])
    facts["num_tokens"] = _beside([cost.tokens for cost in costs])
    hours = [pairs.seconds(cost) / 3600 for cost in costs]
    facts["hours"] = _beside(hours)
    if price_per_hour is not None:
        num_devices = pairs.hardware.num_workers * pairs.hardware.devices_per_worker
        facts["price"] = _beside([one * num_devices * price_per_hour for one in hours])
    if funnel and funnel[-1].num_passes_so_far is not None:
        facts["num_passes_asked_already"] = funnel[-1].num_passes_so_far
    facts["keeps"] = (
        f"{1 - race.max_loss:.2f} of what full scoring would have kept, expected; how far two "
        "anchor sets of this size agree is told once the pilot has met them"
    )
    facts["rests on"] = BASIS
    return facts


def explore_facts(
    race: RaceConfig,
    select: SelectConfig,
    num_met: int,
    pairs: Pairs,
    price_per_hour: float | None,
) -> Facts:
    """The section of a plan under schedule=explore, whose rows meet `num_met` anchors each, beside
    full scoring. `price_per_hour` is of one device."""
    num_rows, num_anchors = pairs.num_rows, len(pairs.anchors)
    reason = why_not_explore(num_rows, num_anchors, num_met)
    if reason is not None:
        return {"nothing to gain": f"{reason}: everything is scored, as under schedule=full"}
    settings = explore_settings(race, select, num_rows)
    costs = (explore_cost(pairs.sizes, settings, num_met), full_cost(pairs.sizes))
    hours = [pairs.seconds(cost) / 3600 for cost in costs]
    facts: Facts = {
        "num_passes": _beside([cost.passes for cost in costs], "explore"),
        "passes a row": round(costs[0].passes / num_rows, 1),
        "num_tokens": _beside([cost.tokens for cost in costs], "explore"),
        "hours": _beside(hours, "explore"),
    }
    if price_per_hour is not None:
        num_devices = pairs.hardware.num_workers * pairs.hardware.devices_per_worker
        facts["price"] = _beside([one * num_devices * price_per_hour for one in hours], "explore")
    facts["gives"] = (
        "a posterior score for every row, and no golden scores; schedule=race or schedule=full "
        "goes on from it"
    )
    return facts


def race_hint(race: RaceConfig, select: SelectConfig, pairs: Pairs) -> str | None:
    """Under schedule=full, what a race for the rows that select.* asks for would cost, in a line;
    None where it would gain nothing, or nobody can tell for how many rows it is."""
    try:
        top_k = wanted_rows(race, select, pairs.num_rows)
    except UserError:
        return None
    if top_k is None or why_full(pairs.num_rows, len(pairs.anchors), top_k) is not None:
        return None
    sizes, settings = pairs.sizes, _settings(race)
    costs = (*race_cost(sizes, settings, top_k), full_cost(sizes))
    low, high, full = (pairs.seconds(cost) for cost in costs)
    hint = (
        f"schedule=race race.top_k={top_k}: the best {top_k} rows on as many anchors in "
        f"{duration_text(low)} to {duration_text(high)}, {full / high:.1f} to {full / low:.1f} "
        "times less"
    )
    if pairs.num_rows < MANY_FROM or len(pairs.anchors) >= MANY:
        return hint
    costs_of_many = race_cost(replace(sizes, num_anchors=MANY), settings, top_k)
    low, high = (pairs.seconds(cost) for cost in costs_of_many)
    return f"{hint}; on {MANY:,} anchors in {duration_text(low)} to {duration_text(high)}"


def _wanted_text(top_k: int | None, num_rows: int) -> str:
    if top_k is None:
        return (
            f"the rows above a golden score; how many is seen on the pilot, here as if "
            f"{GUESSED_SHARE:.0%} were"
        )
    return f"the best {top_k:,} of {num_rows:,} rows"


def _settings(race: RaceConfig) -> RaceSettings:
    return RaceSettings(None, race.max_loss, pilot=race.pilot, max_barriers=race.rounds)


def _beside(values: Sequence[float], *names: str) -> Mapping[str, float]:
    """Values of a race (or of what `names` say) and of full scoring."""
    return dict(zip((*(names or ("race_low", "race_high")), "full"), values, strict=True))
