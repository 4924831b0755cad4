"""What a race is for, a number of rows or a golden score: race.*, or what select.* will ask for."""

import math
from fractions import Fraction

from nuggets_ray.config.schema import RaceConfig, ScheduleConfig, SelectConfig
from nuggets_ray.config.select_steps import expected_depth
from nuggets_ray.errors import UserError


def check_wanted(race: RaceConfig, select: SelectConfig) -> None:
    """Raise UserError where it cannot be known which rows are wanted."""
    given = [
        f"race.{key}={value}"
        for key in ("top_k", "top_fraction", "min_score")
        if (value := getattr(race, key)) is not None
    ]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} are answers to one question: leave one in")
    if race.top_fraction == 0:
        raise UserError("race.top_fraction=0 wants nothing: give a share such as 0.05")
    if not given and select.rule == "threshold" and select.min_score is not None:
        if (select.by, select.order) != ("golden_score", "top"):
            raise UserError(
                f"schedule=race finds the best by golden score, and select=threshold is of "
                f"select.by={select.by} select.order={select.order}: give race.top_fraction, such "
                "as race.top_fraction=0.05, race.top_k or race.min_score"
            )
    elif not given and select.rule not in ("top_k", "top_fraction"):
        raise UserError(
            f"schedule=race cannot tell from select={select.rule} how many rows are wanted: give "
            "race.top_fraction, such as race.top_fraction=0.05, race.top_k or race.min_score"
        )
    min_score = wanted_score(race, select)
    if min_score is not None and not 0 <= min_score < 1:
        key = "select.min_score" if race.min_score is None else "race.min_score"
        raise UserError(
            f"{key}={min_score}: a golden score is within [0, 1], and rows strictly above are "
            "wanted: give a share such as 0.8"
        )


def wanted_score(race: RaceConfig, select: SelectConfig) -> float | None:
    """The golden score above which rows are wanted; None where a number of rows is."""
    if race.min_score is not None:
        return race.min_score
    is_counted = race.top_k is not None or race.top_fraction is not None
    return None if is_counted or select.rule != "threshold" else select.min_score


def wanted_rows(race: RaceConfig, select: SelectConfig, num_candidates: int) -> int | None:
    """The race's K, of `num_candidates` distinct rows: race.*, or as many rows as a selection by
    select.* is expected to go down the ranking; None under a threshold. Raises UserError for more
    than there are.
    """
    check_wanted(race, select)
    if wanted_score(race, select) is not None:
        return None
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


def check_selects(schedule: ScheduleConfig, select: SelectConfig) -> None:
    """Raise UserError where a pipeline would select by golden scores that explore does not give."""
    if schedule.name == "explore" and select.by == "golden_score":
        raise UserError(
            "schedule=explore gives no golden scores, and select.by=golden_score asks for them: "
            "add select.by=posterior_score, or take schedule=race"
        )
