"""Explore: every row ranked for a few passes a candidate, and no golden scores.

    plan_explore(entrants, seen, settings, num_anchors) -> RacePlan

1. The pilot, the candidates with the smallest hashes, meets every anchor, and the factor model of
   the deltas is fitted on it (factor_model.py).
2. All others meet one block of the anchors that tell most, a token, of the rows at the cut-off
   (informative.py).
There is no third step: what is known of a row then is its posterior score (posterior.py). The
rounds are those of a race, so that a race, or full scoring, goes on from what was seen here.

A folder that was raced has blocks already: rows meet as many of those as hold `num_anchors`
anchors, and the rest of that number in a block of their own.

Legend: N candidates, M anchors.
"""

import logging

import numpy as np

from nuggets_ray.config.schema import RaceConfig, SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.run.explored import explored_line
from nuggets_ray.run.manifest import Run
from nuggets_ray.schedule.forecast import first_aim, read
from nuggets_ray.schedule.posterior import MIN_COMPLETE
from nuggets_ray.schedule.race import (
    RacePlan,
    RaceReport,
    RaceSettings,
    ask_missing,
    count_wanted,
    pilot_size,
    why_full,
)
from nuggets_ray.schedule.race_cost import RaceCost, Sizes
from nuggets_ray.schedule.seen import ALL, Entrants, Seen
from nuggets_ray.schedule.wanted import wanted_rows

logger = logging.getLogger(__name__)

AIMED_SHARE = 0.05
"""Of the rows, where nobody says how many are wanted: the anchors that tell most are chosen for
those near the cut-off."""


def check_explore(race: RaceConfig) -> None:
    """Raise UserError for a pilot that schedule=explore can tell nothing from."""
    if race.pilot is not None and race.pilot < MIN_COMPLETE:
        raise UserError(
            f"race.pilot={race.pilot}: schedule=explore ranks by what the pilot shows, and needs "
            f"at least {MIN_COMPLETE} rows in it: raise it, or leave it out"
        )


def why_not_explore(num_candidates: int, num_anchors: int, num_met: int) -> str | None:
    """Why there is nothing to gain and everything is to be scored; None where there is."""
    if num_met >= num_anchors:
        return f"explore.num_anchors={num_met} are no fewer than the {num_anchors} anchors"
    return why_full(num_candidates, num_anchors, None)


def explore_settings(race: RaceConfig, select: SelectConfig, num_candidates: int) -> RaceSettings:
    """The pilot of explore, which is large enough for posterior scores, and the number of rows that
    the anchors are chosen for: what a race would be for, where that is known."""
    is_known = race.top_k is not None or race.top_fraction is not None or race.min_score is not None
    top_k = None
    if is_known or select.rule in ("top_k", "top_fraction"):
        top_k = wanted_rows(race, select, num_candidates)
    return RaceSettings(
        top_k or max(1, round(AIMED_SHARE * num_candidates)),
        pilot=race.pilot or max(pilot_size(num_candidates), MIN_COMPLETE),
    )


def plan_explore(
    entrants: Entrants, seen: Seen, settings: RaceSettings, num_anchors: int
) -> RacePlan:
    """What to compute next; settled once the pilot met every anchor and all other rows at least
    `num_anchors`. The same input gives the same plan."""
    pilot = np.argsort(entrants.hash_N, kind="stable")[: settings.pilot]
    waiting = pilot[seen.stage_N[pilot] != ALL]
    num_complete = int(np.count_nonzero(seen.stage_N == ALL))
    if len(waiting):
        report = RaceReport("pilot", len(waiting), 0, num_complete)
        asks = ask_missing(waiting, seen, entrants.num_anchors, None)
        return RacePlan(asks, None, None, report, None)
    ends = np.cumsum([len(block) for block in seen.blocks], dtype=np.int64)
    target = int(np.searchsorted(ends, num_anchors)) + 1
    rows = np.flatnonzero((seen.stage_N != ALL) & (seen.stage_N < target))
    if not len(rows):
        return RacePlan([], None, None, RaceReport("settled", 0, 0, num_complete), None)
    block, fitted = None, None
    if target > len(seen.blocks):
        fitted = read(entrants, seen, pilot)
        num_left = num_anchors - int(ends[-1] if len(ends) else 0)
        block = fitted.next_block(num_left, first_aim(fitted, count_wanted(fitted, settings)))
        seen = Seen(seen.stage_N, [*seen.blocks, block], seen.parts)
    report = RaceReport(f"block {target}", len(rows), 0, num_complete)
    asks = ask_missing(rows, seen, entrants.num_anchors, target)
    return RacePlan(asks, block, target, report, fitted)


def explore_cost(sizes: Sizes, settings: RaceSettings, num_met: int) -> RaceCost:
    """What an exploration costs: the pilot meets all anchors, every other row `num_met`. Those are
    taken for as long as the mean; mostly they are shorter."""
    num_rows = sizes.num_candidates
    num_pilot = min(settings.pilot or pilot_size(num_rows), num_rows)
    passes = num_pilot * sizes.num_anchors + (num_rows - num_pilot) * num_met
    tokens = num_rows * sizes.demo_tokens + passes * sizes.anchor_tokens
    return RaceCost(passes, tokens, num_rows)


def begin_explore(run: Run) -> None:
    """From now on the folder says that it holds an exploration."""
    run.manifest.setdefault("explore", {})
    run.save()


def record_explore(run: Run, entrants: Entrants, seen: Seen) -> None:
    """Write the manifest's `explore`, and say it in the log's last lines."""
    num_rows, num_anchors = entrants.num_candidates, entrants.num_anchors
    num_met_S = np.cumsum([0, *(len(block) for block in seen.blocks)])
    is_complete_N = seen.stage_N == ALL
    num_met_N = np.where(is_complete_N, num_anchors, num_met_S[np.maximum(seen.stage_N, 0)])
    fewest = int(num_met_N[~is_complete_N].min(initial=num_anchors))
    run.manifest.pop("race", None)  # of other rows, or for a race that goes on from here
    run.manifest["explore"] = {
        "num_candidates": num_rows,
        "num_anchors": num_anchors,
        "num_anchors_met": fewest,
        "num_complete": int(is_complete_N.sum()),
        "num_passes": int(num_met_N.sum()),
        "num_passes_full": num_rows * num_anchors,
    }
    run.save()
    logger.info("explore: %s", explored_line(run.manifest))
