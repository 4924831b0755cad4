"""How many rows a race is for: race.*, or what select.* will ask for."""

import math
from fractions import Fraction

from nuggets_ray.config.schema import RaceConfig, SelectConfig
from nuggets_ray.config.select_steps import expected_depth
from nuggets_ray.errors import UserError


def check_wanted(race: RaceConfig, select: SelectConfig) -> None:
    """Raise UserError where it cannot be known how many rows are wanted."""
    if race.top_k is not None and race.top_fraction is not None:
        raise UserError(
            f"race.top_k={race.top_k} and race.top_fraction={race.top_fraction} are two answers to "
            "one question: leave one out"
        )
    if race.top_fraction == 0:
        raise UserError("race.top_fraction=0 wants nothing: give a share such as 0.05")
    given = race.top_k is not None or race.top_fraction is not None
    if not given and select.rule not in ("top_k", "top_fraction"):
        raise UserError(
            f"schedule=race cannot tell from select={select.rule} how many rows are wanted: give "
            "race.top_fraction, such as race.top_fraction=0.05, or race.top_k"
        )


def wanted_rows(race: RaceConfig, select: SelectConfig, num_candidates: int) -> int:
    """The race's K, of `num_candidates` distinct rows: race.*, or as many rows as a selection by
    select.* is expected to go down the ranking. Raises UserError for more than there are.
    """
    check_wanted(race, select)
    num_rows = _num_rows(race, select, num_candidates)
    is_given = race.top_k is not None or race.top_fraction is not None
    return num_rows if is_given else min(expected_depth(select, num_rows), num_candidates)


def _num_rows(race: RaceConfig, select: SelectConfig, num_candidates: int) -> int:
    if race.top_k is not None:
        top_k, setting = race.top_k, f"race.top_k={race.top_k}"
    elif race.top_fraction is None and select.rule == "top_k":
        assert select.k is not None
        top_k, setting = select.k, f"select.k={select.k}"
    else:
        share = select.fraction if race.top_fraction is None else race.top_fraction
        return max(1, math.ceil(Fraction(str(share)) * num_candidates))
    if top_k > num_candidates:
        raise UserError(
            f"{setting} wants more rows than the {num_candidates} different candidates: lower it"
        )
    return top_k
