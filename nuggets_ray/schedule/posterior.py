"""The posterior score: the win share that a row is expected to have over infinitely many anchors of
this kind, from all the factor model knows of it.

    posterior_score = E[mean over anchors of Phi((loadings_j . theta - cut_j) / sqrt(noise_j))]

It ranks better than the share of M anchors that were won, whose sampling noise it does not carry,
and it is there for every row, whatever the row has met. It is no golden score. Its interval is for
other anchors of this kind; anchors whose deltas move as one count as one, and where fewer than 40
are left it is unknown.

Legend: N rows, M anchors.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from nuggets_ray.schedule.forecast import (
    CHUNK,
    Fitted,
    ability,
    along,
    first_aim,
    read,
    wins_given_eta,
)
from nuggets_ray.schedule.race import RaceSettings, count_wanted, pilot_size
from nuggets_ray.schedule.seen import ALL, Entrants, Seen
from nuggets_ray.schedule.top_share import fit_prior, moments

Z_95 = 1.959963984540054
TWINS, TWIN_ROWS = 0.99, 500
"""Correlation over so many rows from which two anchors count as one."""
MIN_ANCHORS, MIN_COMPLETE = 40, 100
FIT_ROWS = 4000
"""Rows that the model is fitted on where all are complete: more would change little."""


@dataclass(frozen=True, slots=True)
class PosteriorScores:
    """Posterior scores of N rows with the bounds of their 95% intervals, all within [0, 1]."""

    score_N: np.ndarray
    low_N: np.ndarray
    high_N: np.ndarray


def why_none(num_complete: int, num_anchors: int) -> str | None:
    """Why there can be no posterior scores; None where there can."""
    if num_anchors < MIN_ANCHORS:
        return f"{num_anchors} anchors are fewer than {MIN_ANCHORS}"
    if num_complete < MIN_COMPLETE:
        return f"{num_complete} rows that met every anchor are fewer than {MIN_COMPLETE}"
    return None


def num_distinct(delta_PM: np.ndarray) -> int:
    """Anchors that are not the like of an earlier one, over rows that met them all. An anchor on
    which all rows are equal is the like of none."""
    delta_PM = delta_PM[:TWIN_ROWS]
    centered_PM = np.nan_to_num(delta_PM - np.nanmean(delta_PM, axis=0))
    size_M = np.linalg.norm(centered_PM, axis=0)
    unit_PM = centered_PM / np.where(size_M > 0, size_M, np.inf)
    is_twin_MM = np.triu(unit_PM.T @ unit_PM, 1) > TWINS
    return int(np.count_nonzero(~is_twin_MM.any(axis=0)))


def basis(
    content_id_N: np.ndarray, zero_shot_M: np.ndarray, seen: Seen, settings: RaceSettings
) -> str:
    """A hash of what the posterior scores of a run follow from: its rows and how far they are, its
    anchors by their zero-shot log-probs, what is wanted."""
    digest = hashlib.sha256(repr((settings, [block.tolist() for block in seen.blocks])).encode())
    for values in (content_id_N, zero_shot_M, seen.stage_N):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def posterior_of_run(
    entrants: Entrants, seen: Seen, settings: RaceSettings
) -> PosteriorScores | str:
    """The posterior score of every row that met an anchor and NaN of others; where there can be
    none, why."""
    complete = np.flatnonzero(seen.stage_N == ALL)
    reason = why_none(len(complete), entrants.num_anchors)
    if reason is not None:
        return reason
    # of many complete rows, those with the smallest hashes: a random sample of all under full
    # scoring, the pilot in a race
    by_hash = complete[np.argsort(entrants.hash_N[complete], kind="stable")]
    num_pilot = settings.pilot or pilot_size(entrants.num_candidates)
    fit_rows = FIT_ROWS if len(seen.blocks) == 0 else num_pilot
    fitted = read(entrants, seen, by_hash[:fit_rows])
    num_unlike = num_distinct(fitted.pilot_delta_PM)
    if num_unlike < MIN_ANCHORS:
        return (
            f"of {entrants.num_anchors} anchors {num_unlike} are distinct, the others' deltas move "
            f"with theirs: fewer than {MIN_ANCHORS}"
        )
    scores = posterior_scores(fitted, count_wanted(fitted, settings))
    is_unmet_N = seen.stage_N == 0
    for values_N in (scores.score_N, scores.low_N, scores.high_N):
        values_N[is_unmet_N] = np.nan
    return scores


def posterior_scores(fitted: Fitted, top_k: int) -> PosteriorScores:
    """The posterior score of every row; `top_k` says where precision matters most."""
    num_anchors = fitted.num_anchors
    every, num_unlike = np.arange(num_anchors), num_distinct(fitted.pilot_delta_PM)
    direction = ability(fitted.model, first_aim(fitted, top_k))
    prior = fit_prior(along(fitted, direction))
    score_N, spread_N = np.zeros(len(fitted.wins_N)), np.zeros(len(fitted.wins_N))
    for stage, rows in fitted.stages():
        covariance = fitted.covariance(stage)
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            theta_NQ = fitted.evidence_NQ[part] @ covariance
            wins, own_n = wins_given_eta(fitted.model, theta_NQ, covariance, every, direction)
            mean_n, spread_n = moments(wins, prior)
            share_n = wins.center_N / num_anchors
            # the M anchors are a sample themselves: their chances of a win vary about their mean
            of_anchors_n = np.maximum((wins.center_N - own_n) / num_anchors - share_n**2, 0)
            # and of none or all won it is not known that there is no other: a win more or less
            variance_n = of_anchors_n / num_unlike + 1 / num_unlike**2
            score_N[part] = mean_n / num_anchors
            spread_N[part] = np.sqrt((spread_n / num_anchors) ** 2 + variance_n)
    score_N = np.clip(score_N, 0, 1)
    low_N = np.clip(score_N - Z_95 * spread_N, 0, 1)
    return PosteriorScores(score_N, low_N, np.clip(score_N + Z_95 * spread_N, 0, 1))
