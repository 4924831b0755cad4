"""What a race did and what its stated recall rests on: the manifest's `race`."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from nuggets_ray.run.funnel import round_times
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.promise import basis_line
from nuggets_ray.run.rounds import Round, RoundAsk
from nuggets_ray.schedule.calibration import Coverage, coverage, held_out_coverage
from nuggets_ray.schedule.forecast import Fitted, forecast
from nuggets_ray.schedule.race import Ask, RacePlan, RaceSettings
from nuggets_ray.schedule.replay import Field
from nuggets_ray.schedule.seen import ALL, Entrants, Seen
from nuggets_ray.schedule.split_halves import Agreement, top_agreement

logger = logging.getLogger(__name__)

PARTS_OF_K = (0.1, 0.2, 0.5, 1.0)
"""Smaller numbers of rows that a selection may ask for: what is promised of each."""


def ask_cost(entrants: Entrants, asks: Sequence[Ask]) -> tuple[int, int]:
    """(passes, tokens) of what is asked; a demonstration counts each time it is read."""
    passes = sum(len(ask.rows) * len(ask.anchors) for ask in asks)
    tokens = sum(
        float(entrants.demo_tokens_N[ask.rows].sum())
        + len(ask.rows) * float(entrants.anchor_tokens_M[ask.anchors].sum())
        for ask in asks
    )
    return passes, round(tokens)


def saved_passes(entrants: Entrants, seen: Seen, step: RacePlan) -> int:
    """What the rows that a plan leaves behind would still have cost: the anchors they never met, in
    the mean of all incomplete rows that it does not ask."""
    is_unasked_N = seen.stage_N != ALL
    for ask in step.asks:
        is_unasked_N[ask.rows] = False
    if not step.report.num_left or not is_unasked_N.any():
        return 0
    num_met = np.cumsum([0, *(len(block) for block in seen.blocks)])
    mean_left = entrants.num_anchors - float(num_met[seen.stage_N[is_unasked_N]].mean())
    return round(step.report.num_left * mean_left)


def foreseen_wins(step: RacePlan, settings: RaceSettings) -> np.ndarray | None:
    """Mean and standard deviation of every incomplete row's final wins, (N, 2), NaN of others, as
    the plan saw them that completes the last rows; None of another plan."""
    if step.target is not None or step.fitted is None or step.report.cutoff is None:
        return None
    assert step.report.top_k is not None
    min_wins = settings.min_wins(step.fitted.num_anchors)
    ahead = forecast(step.fitted, step.report.top_k, min_wins)
    foreseen_N2 = np.full((len(step.fitted.wins_N), 2), np.nan)
    foreseen_N2[ahead.rows] = np.stack([ahead.mean_I, ahead.spread_I], axis=1)
    return foreseen_N2


def round_asks(
    content_id_N: np.ndarray, step: RacePlan, settings: RaceSettings
) -> tuple[RoundAsk, ...]:
    """What a plan asks, by content_ids, with what it foresees of the rows that it completes."""
    foreseen_N2 = foreseen_wins(step, settings)
    return tuple(
        RoundAsk(
            content_id_N[ask.rows],
            ask.anchors,
            None if foreseen_N2 is None else foreseen_N2[ask.rows],
        )
        for ask in step.asks
    )


def record_race(
    run: Run,
    settings: RaceSettings,
    entrants: Entrants,
    field: Field,
    last: RacePlan,
    rounds: Sequence[Round],
) -> None:
    """Write the manifest's `race`, and warn where its promise rests on little."""
    num_rows, num_anchors = entrants.num_candidates, entrants.num_anchors
    top_k = settings.top_k
    if top_k is None:  # so many are above the threshold, and settled
        assert last.fitted is not None
        share_C = last.fitted.win_share(last.fitted.complete)
        top_k = int(np.count_nonzero(share_C > settings.min_score))
    asks = [
        Ask(rows[rows >= 0], ask.anchors)
        for decided in rounds
        for ask in decided.asks
        for rows in [field.find(ask.content_ids)]
    ]
    passes, tokens = ask_cost(entrants, asks)
    times = round_times(run.manifest).values()
    record: dict[str, Any] = {
        "top_k": top_k,
        "min_score": settings.min_score,
        "max_loss": settings.max_loss,
        "num_candidates": num_rows,
        "num_anchors": num_anchors,
        "num_complete": last.report.num_complete,
        "num_barriers": len(rounds),
        "num_passes": passes,
        "num_passes_full": num_rows * num_anchors,
        "num_tokens": tokens,
        "num_tokens_full": round(
            float(entrants.demo_tokens_N.sum()) + num_rows * float(entrants.anchor_tokens_M.sum())
        ),
        "expected_recall": last.report.expected_recall,
        "cutoff_wins": last.report.cutoff,
        "kappa": last.report.kappa,
        "settings": asdict(settings),
        "rounds": [dict(decided.report) for decided in rounds],
        "times": {
            "num_rounds": len(times),
            "seconds": round(sum(seconds for seconds, _ in times), 1),
            "waited_s": round(sum(waited_s for _, waited_s in times), 1),
        },
    }
    if last.fitted is not None:
        record |= _promise(last.fitted, last, top_k, field, rounds)
    run.manifest["race"] = record
    run.save()


def _promise(
    fitted: Fitted, last: RacePlan, top_k: int, field: Field, rounds: Sequence[Round]
) -> dict[str, Any]:
    """The recall of the best K and of fewer, the agreements, and how predictions held."""
    kappa = last.report.kappa or 1.0
    held_out = held_out_coverage(fitted.pilot_delta_PM, fitted.seen.blocks, kappa)
    survivors = _survivors(fitted, field, rounds)
    promise = {
        "at": [_at(fitted, k) for k in sorted({max(1, round(top_k * p)) for p in PARTS_OF_K})],
        "held_out": held_out and asdict(held_out),
        "survivors": survivors and asdict(survivors),
    }
    for one in (held_out, survivors):
        if one is not None and one.is_doubtful:
            logger.warning(
                "the recall that the race states may be too high: %s. A larger race.pilot or a "
                "smaller race.max_loss makes it safer, schedule=full computes the rest",
                basis_line(promise),
            )
            break
    return promise


def _at(fitted: Fitted, top_k: int) -> dict[str, Any]:
    """What is expected to be lost of the best `top_k`, and how far two anchor sets agree."""
    lost = 0.0
    if len(fitted.incomplete):
        lost = float(forecast(fitted, top_k, None).probability_I.sum())
    agreement = top_agreement(fitted.pilot_delta_PM, top_k / len(fitted.wins_N))
    return {
        "top_k": top_k,
        "expected_loss": lost,
        "expected_recall": max(0.0, 1 - lost / top_k),
        "agreement": _as_dict(agreement),
    }


def _as_dict(agreement: Agreement | str) -> dict[str, Any] | str:
    if isinstance(agreement, str):
        return agreement
    return {**asdict(agreement), "is_beyond": agreement.is_beyond}


def _survivors(fitted: Fitted, field: Field, rounds: Sequence[Round]) -> Coverage | None:
    """Final wins of the rows that were completed after a last plan, beside what it said of them."""
    foreseen: dict[int, np.ndarray] = {}
    for decided in rounds:
        for ask in decided.asks:
            if ask.forecast_n2 is not None:
                rows = field.find(ask.content_ids)
                foreseen |= dict(zip(rows.tolist(), ask.forecast_n2, strict=True))
    is_complete_N = fitted.seen.stage_N == ALL
    rows = np.array([row for row in foreseen if row >= 0 and is_complete_N[row]], np.int64)
    if not len(rows):
        return None
    mean_n, spread_n = np.array([foreseen[row] for row in rows.tolist()]).T
    # a forecast counts equal totals by halves
    return coverage(mean_n, spread_n, fitted.win_share(rows) * fitted.num_anchors + 0.5)
