"""The race: which pairs of candidates and anchors to compute next, from what has been seen.

    plan(entrants, seen, settings, num_barriers) -> RacePlan       a function of these alone

1. The pilot, the candidates with the smallest hashes, meets every anchor. The factor model of the
   deltas (factor_model.py) is fitted on it.
2. All others meet a first block of anchors: those that tell most, a token, of the rows at the
   cut-off (informative.py). Block after block, only rows that may still be among the best K go on.
3. Before each block the probability P of ending among the best K is computed for every incomplete
   row (forecast.py, top_share.py). The least likely are left behind as long as their summed P, the
   winners expected to be lost, stays within what this round may spend of max_loss x K. That is
   decided afresh each time: one left behind comes back when it looks better, and catches up.
4. After the last block the live rows meet the anchors that are left, and have a golden score.
   Where that changes what is expected of the rows left behind, one more barrier completes those
   that came back; there is never another.

Under a threshold of the golden score the rows above it are wanted, and K is how many of them are
expected.

The stated recall is 1 - (summed P of the rows left behind) / K: a calibrated expectation of the
share of full scoring's best K that is kept, no guarantee.

Legend: N candidates, M anchors, S anchors of a block, I incomplete rows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from nuggets_ray.schedule.forecast import Fitted, Forecast, first_aim, forecast, read
from nuggets_ray.schedule.informative import block_ends
from nuggets_ray.schedule.seen import ALL, Entrants, Seen, first_blocks

MIN_CANDIDATES, MIN_ANCHORS, MAX_TOP_SHARE = 400, 40, 0.3
NUM_BLOCKS = 5
# The loss is estimated anew when the live rows are complete: another barrier only well above it.
SETTLED = 3.0
# The front is where the live rows are; up to nine in ten of them may be catching up.
FRONT_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class RaceSettings:
    """`top_k` rows are wanted, or those whose golden score is above `min_score`: one is None.
    `max_loss` is the share of them that may be lost, expected; `pilot` rows meet everything first
    (None: by N)."""

    top_k: int | None = None
    max_loss: float = 0.01
    pilot: int | None = None
    num_blocks: int = NUM_BLOCKS
    min_score: float | None = None

    def min_wins(self, num_anchors: int) -> int | None:
        """The fewest wins whose share is above min_score."""
        if self.min_score is None:
            return None
        return math.floor(Fraction(str(self.min_score)) * num_anchors) + 1

    @property
    def max_barriers(self) -> int:
        """The pilot, the blocks, the rest, and one where the rest changed what is expected."""
        return self.num_blocks + 3


@dataclass(frozen=True, slots=True)
class Ask:
    """Compute these rows on these anchors: indices, (n,) and (S,)."""

    rows: np.ndarray
    anchors: np.ndarray


@dataclass(frozen=True, slots=True)
class RaceReport:
    """What a plan rests on. `num_live` rows are asked, `num_left` are left behind, `num_back` of
    the live had been; `expected_loss` is the summed P of those left, of which the round may spend
    `allowed_loss`; `cutoff` in wins; `kappa` is by how much the pilot's folds widen the spread;
    `top_k` rows are wanted, under a threshold as many as are expected above it."""

    phase: str
    num_live: int
    num_left: int
    num_complete: int
    num_back: int = 0
    cutoff: float | None = None
    kappa: float | None = None
    allowed_loss: float = 0.0
    expected_loss: float = 0.0
    expected_recall: float | None = None
    top_k: int | None = None


@dataclass(frozen=True, slots=True)
class RacePlan:
    """The next barrier; the race is settled where `asks` is empty. `block` is a block of anchors
    chosen now, in order of choice; None where recorded ones are met, or all that is left.
    `target` is the stage of the asked rows afterwards, None where they are then complete; `fitted`
    what the plan rests on, None for the pilot."""

    asks: Sequence[Ask]
    block: np.ndarray | None
    target: int | None
    report: RaceReport
    fitted: Fitted | None


def why_full(num_candidates: int, num_anchors: int, top_k: int | None) -> str | None:
    """Why a race has nothing to gain and everything is to be scored; None where it has, or where
    a threshold leaves K (None) to be seen."""
    if num_candidates < MIN_CANDIDATES:
        return f"{num_candidates} candidates are fewer than {MIN_CANDIDATES}"
    if num_anchors < MIN_ANCHORS:
        return f"{num_anchors} anchors are fewer than {MIN_ANCHORS}"
    if top_k is not None and top_k > MAX_TOP_SHARE * num_candidates:
        return f"{top_k} of {num_candidates} candidates are more than {MAX_TOP_SHARE:.0%}"
    return None


def pilot_size(num_candidates: int) -> int:
    """Rows that meet every anchor first: enough for the model, a small share of the bill."""
    for below, size in ((1000, 48), (5000, 96), (20_000, 128)):
        if num_candidates < below:
            return size
    return 256


def plan(entrants: Entrants, seen: Seen, settings: RaceSettings, num_barriers: int = 0) -> RacePlan:
    """What to compute next: see the head of the module. The same input gives the same plan.
    `num_barriers` are behind, of this race."""
    size = settings.pilot or pilot_size(entrants.num_candidates)
    pilot = np.argsort(entrants.hash_N, kind="stable")[:size]
    waiting = pilot[seen.stage_N[pilot] != ALL]
    num_complete = int(np.count_nonzero(seen.stage_N == ALL))
    if len(waiting):
        report = RaceReport("pilot", len(waiting), 0, num_complete, top_k=settings.top_k)
        return RacePlan(
            ask_missing(waiting, seen, entrants.num_anchors, None), None, None, report, None
        )
    fitted = read(entrants, seen, pilot)
    settings = replace(settings, top_k=count_wanted(fitted, settings))
    assert settings.top_k is not None
    newcomers = np.flatnonzero(seen.stage_N == 0)
    if settings.min_score is not None and settings.top_k > MAX_TOP_SHARE * len(seen.stage_N):
        return replace(plan_rest(entrants, seen), fitted=fitted)
    if len(newcomers):
        block = None
        if not seen.blocks:
            size = int(block_ends(entrants.num_anchors, settings.num_blocks)[0])
            block = fitted.next_block(size, first_aim(fitted, settings.top_k))
            seen = Seen(seen.stage_N, [block], seen.parts)
        report = RaceReport("block 1", len(newcomers), 0, num_complete, top_k=settings.top_k)
        return RacePlan(
            ask_missing(newcomers, seen, entrants.num_anchors, 1), block, 1, report, fitted
        )
    if num_complete == entrants.num_candidates:
        report = RaceReport(
            "settled", 0, 0, num_complete, expected_recall=1.0, top_k=settings.top_k
        )
        return RacePlan([], None, None, report, fitted)
    return _next(fitted, settings, settings.max_barriers - num_barriers)


def count_wanted(fitted: Fitted, settings: RaceSettings) -> int:
    """K; under a threshold the rows that the pilot lets expect above it, at least one."""
    if settings.top_k is not None:
        return settings.top_k
    assert settings.min_score is not None
    pilot_PM = fitted.pilot_delta_PM
    share_P = np.sum(pilot_PM > 0, axis=1) / np.sum(~np.isnan(pilot_PM), axis=1)
    return max(1, round(float(np.mean(share_P > settings.min_score)) * len(fitted.wins_N)))


def plan_rest(entrants: Entrants, seen: Seen) -> RacePlan:
    """Everything that is missing: what full scoring computes in a folder that was raced."""
    left = np.flatnonzero(seen.stage_N != ALL)
    phase = "the rest of all rows" if len(left) else "settled"
    num_complete = entrants.num_candidates - len(left)
    report = RaceReport(phase, len(left), 0, num_complete, expected_recall=1.0)
    return RacePlan(ask_missing(left, seen, entrants.num_anchors, None), None, None, report, None)


def _next(fitted: Fitted, settings: RaceSettings, num_left: int) -> RacePlan:
    """The plan after every row met a block at least: leave behind, go on, complete, or end; with
    `num_left` barriers to go."""
    seen, num_anchors = fitted.seen, fitted.num_anchors
    assert settings.top_k is not None
    ahead = forecast(fitted, settings.top_k, settings.min_wins(num_anchors))
    top_k = max(1, round(ahead.num_reaching)) if settings.min_score is not None else settings.top_k
    settings = replace(settings, top_k=top_k)
    allowed = settings.max_loss * top_k
    ends = block_ends(num_anchors, settings.num_blocks)
    front = _front(ahead, fitted, settings, allowed)
    num_met = len(first_blocks(seen.blocks, front))
    num_ends = int(np.searchsorted(ends, num_met, side="right"))  # an exploration's block is larger
    allowed_now = allowed * min(1.0, num_ends / len(ends))
    live = _live(ahead, fitted, settings, allowed_now)
    is_through = num_ends >= len(ends) and settings.max_loss > 0
    if num_left <= 0 or (is_through and ahead.probability_I.sum() <= SETTLED * allowed):
        live = live[:0]
    is_last = num_left == 1 or num_ends >= len(ends) or len(live) <= top_k
    block = None
    target: int | None = None
    if len(live) and not is_last:
        target = front + 1
        if target > len(seen.blocks):
            block = fitted.next_block(int(ends[num_ends]) - num_met, _aim(ahead, fitted, live))
            seen = Seen(seen.stage_N, [*seen.blocks, block], seen.parts)
    asked = live if target is None else live[seen.stage_N[live] < target]
    is_left = ~np.isin(ahead.rows, live)
    lost = float(ahead.probability_I[is_left].sum())
    report = RaceReport(
        phase="settled" if not len(live) else "the rest" if target is None else f"block {target}",
        num_live=len(asked),
        num_left=int(is_left.sum()),
        num_complete=len(fitted.complete),
        num_back=int(np.count_nonzero(seen.stage_N[live] < front)),
        cutoff=ahead.cutoff,
        kappa=ahead.kappa,
        allowed_loss=allowed_now,
        expected_loss=lost,
        expected_recall=max(0.0, 1 - lost / top_k),
        top_k=top_k,
    )
    return RacePlan(ask_missing(asked, seen, num_anchors, target), block, target, report, fitted)


def _front(ahead: Forecast, fitted: Fitted, settings: RaceSettings, allowed: float) -> int:
    """The stage at which the live rows stand: rows that came back are behind it and catch up;
    where rows were added, they are the front and meet the recorded blocks in order."""
    seen = fitted.seen
    live = _live(ahead, fitted, settings, allowed)
    if not len(live):
        return len(seen.blocks)
    return int(np.quantile(seen.stage_N[live], FRONT_SHARE, method="higher"))


def _live(
    ahead: Forecast, fitted: Fitted, settings: RaceSettings, allowed_loss: float
) -> np.ndarray:
    """All incomplete rows but the least likely whose summed probability stays within the loss."""
    if settings.max_loss == 0:
        return _by_counting(ahead, fitted, settings)
    order = np.argsort(ahead.probability_I, kind="stable")
    num_left = int(np.searchsorted(np.cumsum(ahead.probability_I[order]), allowed_loss, "right"))
    return np.sort(ahead.rows[order[num_left:]])


def _by_counting(ahead: Forecast, fitted: Fitted, settings: RaceSettings) -> np.ndarray:
    """The incomplete rows that could still be among the best by winning all that they have not
    met: nothing that could win is left behind."""
    num_anchors = fitted.num_anchors
    sure_N = fitted.wins_N.copy()
    sure_N[fitted.complete] = fitted.win_share(fitted.complete) * num_anchors
    min_wins = settings.min_wins(num_anchors)
    assert settings.top_k is not None
    bar = float(np.sort(sure_N)[-settings.top_k]) if min_wins is None else min_wins
    unseen_I = num_anchors - fitted.num_seen_N[ahead.rows]
    could_win: np.ndarray = ahead.rows[fitted.wins_N[ahead.rows] + unseen_I >= bar]
    return could_win


def _aim(ahead: Forecast, fitted: Fitted, live: np.ndarray) -> np.ndarray:
    """Mean theta of the live rows, weighted by how undecided they are, (Q,)."""
    probability_I = ahead.probability_I[np.searchsorted(ahead.rows, live)]
    weight_I = np.maximum(probability_I * (1 - probability_I), 1e-12)
    aim: np.ndarray = weight_I @ fitted.theta(live) / weight_I.sum()
    return aim


def ask_missing(rows: np.ndarray, seen: Seen, num_anchors: int, target: int | None) -> list[Ask]:
    """What `rows` miss of the first `target` blocks, or of all anchors: an ask a stage."""
    asks = []
    for stage in np.unique(seen.stage_N[rows]):
        wanted = np.arange(num_anchors) if target is None else first_blocks(seen.blocks, target)
        missing = wanted[~np.isin(wanted, seen.met(int(stage), num_anchors))]
        if len(missing):
            asks.append(Ask(rows[seen.stage_N[rows] == stage], missing))
    return asks
