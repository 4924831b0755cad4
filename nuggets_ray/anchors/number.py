"""How many anchors are drawn where anchors.num is not given.

Full scoring pays for every anchor with every candidate. Under a schedule that computes a part of
it, ten times as many anchors cost about as much as 100 in full and rank far better, once there are
candidates enough to share the bill of its pilot, which meets all of them.
"""

from nuggets_ray.anchors.random import DEFAULT_NUM
from nuggets_ray.config.schema import RaceConfig, SelectConfig
from nuggets_ray.schedule.race import why_full
from nuggets_ray.schedule.wanted import wanted_rows

MANY = 1000
MANY_FROM = 10_000
"""Distinct candidates from which on many anchors are drawn."""


def default_num(schedule: str, race: RaceConfig, select: SelectConfig, num_distinct: int) -> int:
    """The number of anchors for `num_distinct` different candidates under schedule.name.

    A race that falls back to full scoring takes full scoring's number.
    """
    if schedule == "full" or num_distinct < MANY_FROM:
        return DEFAULT_NUM
    if schedule == "explore":
        return MANY
    top_k = wanted_rows(race, select, num_distinct)
    return DEFAULT_NUM if why_full(num_distinct, MANY, top_k) else MANY
