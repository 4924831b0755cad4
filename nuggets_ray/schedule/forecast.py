"""Where every row of a race will end: the factor model fitted to what was seen, each row as a
handful of numbers, and the probability of reaching the cut-off.

The deltas are read twice, piece by piece: once a sample of the rows for the model, once all for
what the model makes of them; memory holds Q + 3 numbers a row and the sample.

Legend: N candidates, M anchors, P pilot rows, Q factors, I incomplete rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nuggets_ray.schedule.factor_model import FactorModel, expect_unseen, fit, refit
from nuggets_ray.schedule.informative import choose_block
from nuggets_ray.schedule.seen import ALL, Entrants, Seen, first_blocks
from nuggets_ray.schedule.top_share import (
    Totals,
    find_cutoff,
    fit_prior,
    moments,
    probabilities,
)

REFIT_ROWS = 20_000
NUM_FOLDS = 4
MAX_KAPPA = 2.0
CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Fitted:
    """What was seen, in numbers a row: `evidence_NQ` (FactorModel.evidence), `wins_N` and
    `num_seen_N` so far, `delta_sum_N` in nats; `pilot_delta_PM` the pilot's deltas, `demo_tokens`
    of a demonstration on average."""

    model: FactorModel
    seen: Seen
    evidence_NQ: np.ndarray
    wins_N: np.ndarray
    num_seen_N: np.ndarray
    delta_sum_N: np.ndarray
    pilot_delta_PM: np.ndarray
    anchor_tokens_M: np.ndarray
    demo_tokens: float

    @property
    def num_anchors(self) -> int:
        return len(self.anchor_tokens_M)

    @property
    def complete(self) -> np.ndarray:
        return np.flatnonzero(self.seen.stage_N == ALL)

    @property
    def incomplete(self) -> np.ndarray:
        return np.flatnonzero(self.seen.stage_N != ALL)

    def mean_delta(self, rows: np.ndarray) -> np.ndarray:
        """Mean delta of the anchors met, in nats."""
        mean: np.ndarray = self.delta_sum_N[rows] / np.maximum(self.num_seen_N[rows], 1)
        return mean

    def win_share(self, rows: np.ndarray) -> np.ndarray:
        """Share of the anchors met that were won: the golden score of a complete row."""
        share: np.ndarray = self.wins_N[rows] / np.maximum(self.num_seen_N[rows], 1)
        return share

    def ranked(self) -> np.ndarray:
        """The complete rows, best golden score first, ties by mean delta."""
        rows = self.complete
        order = np.lexsort((-self.mean_delta(rows), -self.win_share(rows)))
        ranked: np.ndarray = rows[order]
        return ranked

    def complete_totals(self) -> np.ndarray:
        """Wins of the complete rows, of all M anchors where their own is missing; equal ones are
        told apart by their mean delta, within [0, 1)."""
        rows = self.complete
        order = np.argsort(np.argsort(self.mean_delta(rows), kind="stable"), kind="stable")
        totals: np.ndarray = self.win_share(rows) * self.num_anchors + order / max(len(rows), 1)
        return totals

    def next_block(self, size: int, aim: np.ndarray) -> np.ndarray:
        """The `size` most informative anchors after the recorded blocks."""
        met = first_blocks(self.seen.blocks, len(self.seen.blocks))
        return choose_block(self.model, met, size, aim, self.anchor_tokens_M)

    def stages(self) -> list[tuple[int, np.ndarray]]:
        """Every stage that rows are at, and those rows."""
        stage_N = self.seen.stage_N
        return [(int(stage), np.flatnonzero(stage_N == stage)) for stage in np.unique(stage_N)]

    def covariance(self, stage: int) -> np.ndarray:
        """Posterior covariance of theta at a stage, (Q, Q)."""
        return self.model.covariance(self.seen.met(stage, self.num_anchors))

    def theta(self, rows: np.ndarray) -> np.ndarray:
        """Posterior means of theta, (n, Q)."""
        theta_NQ = np.zeros((len(rows), self.model.num_factors))
        for stage, members in self.stages():
            is_member = np.isin(rows, members)
            theta_NQ[is_member] = self.evidence_NQ[rows[is_member]] @ self.covariance(stage)
        return theta_NQ


@dataclass(frozen=True, slots=True)
class Forecast:
    """`probability_I` of ending among the best K for each of `rows` (I,), the incomplete ones;
    `mean_I` and `spread_I` of their final wins; `cutoff` in wins, which `num_reaching` rows are
    expected to reach; `kappa` >= 1."""

    rows: np.ndarray
    probability_I: np.ndarray
    mean_I: np.ndarray
    spread_I: np.ndarray
    cutoff: float
    num_reaching: float
    kappa: float


def read(entrants: Entrants, seen: Seen, pilot: np.ndarray) -> Fitted:
    """Fit the model on the pilot, go on with all that was seen, and reduce every row to numbers."""
    num_rows, num_anchors = entrants.num_candidates, entrants.num_anchors
    order = np.argsort(entrants.hash_N, kind="stable")
    sample = np.union1d(order[: REFIT_ROWS if len(seen.blocks) else 0], pilot)
    delta = _gather(seen, sample, num_rows, num_anchors)
    pilot_delta_PM = delta[np.searchsorted(sample, pilot)].astype(np.float64)
    model = fit(pilot_delta_PM, rounding_M=entrants.rounding_M)
    if len(seen.blocks):
        model = refit(model, _groups(seen, sample, delta))
    del delta
    evidence_NQ = np.zeros((num_rows, model.num_factors))
    wins_N, num_seen_N, delta_sum_N = (np.zeros(num_rows) for _ in range(3))
    for part in seen.parts():
        evidence_NQ[part.rows] += model.evidence(part.delta, part.anchors)
        wins_N[part.rows] += np.sum(part.delta > 0, axis=1)
        num_seen_N[part.rows] += np.sum(~np.isnan(part.delta), axis=1)
        delta_sum_N[part.rows] += np.nansum(part.delta, axis=1)
    return Fitted(
        *(model, seen, evidence_NQ, wins_N, num_seen_N, delta_sum_N, pilot_delta_PM),
        *(entrants.anchor_tokens_M, float(np.mean(entrants.demo_tokens_N))),
    )


def forecast(fitted: Fitted, top_k: int, min_wins: float | None) -> Forecast:
    """Where the incomplete rows will end; the cut-off is `min_wins` where that is given."""
    kappa = _kappa(fitted)
    aim = first_aim(fitted, top_k)
    direction = ability(fitted.model, aim)
    totals = _totals(fitted, direction, kappa)
    prior = fit_prior(along(fitted, direction))
    complete_C = fitted.complete_totals()
    cutoff = min_wins if min_wins is not None else find_cutoff(totals, prior, complete_C, top_k)
    mean_I, spread_I = moments(totals, prior)
    probability_I = probabilities(totals, prior, cutoff)
    num_reaching = float(probability_I.sum()) + int(np.count_nonzero(complete_C >= cutoff))
    return Forecast(
        *(fitted.incomplete, probability_I, mean_I, spread_I, cutoff, num_reaching, kappa)
    )


def first_aim(fitted: Fitted, top_k: int) -> np.ndarray:
    """Mean theta of the pilot's best rows, (Q,): where the cut-off is expected at first."""
    everything = np.arange(fitted.num_anchors)
    theta_PQ = fitted.model.evidence(fitted.pilot_delta_PM, everything)
    theta_PQ = theta_PQ @ fitted.model.covariance(everything)
    share_P = np.nanmean(
        np.where(np.isnan(fitted.pilot_delta_PM), np.nan, fitted.pilot_delta_PM > 0), axis=1
    )
    num_best = max(1, round(2 * top_k / len(fitted.wins_N) * len(share_P)))
    best = np.argsort(-share_P, kind="stable")[:num_best]
    aim: np.ndarray = theta_PQ[best].mean(axis=0)
    return aim


def _gather(seen: Seen, sample: np.ndarray, num_rows: int, num_anchors: int) -> np.ndarray:
    """The deltas of the sampled rows as one matrix, NaN where there is none."""
    place_N = np.full(num_rows, -1)
    place_N[sample] = np.arange(len(sample))
    matrix = np.full((len(sample), num_anchors), np.nan, dtype=np.float32)
    for part in seen.parts():
        place_n = place_N[part.rows]
        matrix[np.ix_(place_n[place_n >= 0], part.anchors)] = part.delta[place_n >= 0]
    return matrix


def _groups(
    seen: Seen, sample: np.ndarray, delta: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    stage_N = seen.stage_N[sample]
    for stage in np.unique(stage_N[stage_N != 0]):
        met = seen.met(int(stage), delta.shape[1])
        yield delta[stage_N == stage][:, met].astype(np.float64), met


def ability(model: FactorModel, aim: np.ndarray) -> np.ndarray:
    """The direction g along which the prior is estimated: unit gradient of the expected wins at
    `aim`, (Q,)."""
    none = np.zeros((model.num_factors, model.num_factors))
    every = np.arange(len(model.cut_M))
    gradient = expect_unseen(model, aim[None], none, every).gradient_NQ[0]
    size = float(np.linalg.norm(gradient))
    if size < 1e-9:
        gradient, size = np.eye(model.num_factors)[0], 1.0
    unit: np.ndarray = gradient / size
    return unit


def along(fitted: Fitted, direction: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """For every stage (posterior means along `direction` (n,), posterior variance)."""
    groups = []
    for stage, rows in fitted.stages():
        toward = fitted.covariance(stage) @ direction
        groups.append((fitted.evidence_NQ[rows] @ toward, float(direction @ toward)))
    return groups


def wins_given_eta(
    model: FactorModel,
    theta_NQ: np.ndarray,
    covariance: np.ndarray,
    anchors: np.ndarray,
    direction: np.ndarray,
) -> tuple[Totals, np.ndarray]:
    """Expected wins on `anchors` given eta, no chance of single wins in their spread; and the
    variance of those chances, (N,)."""
    expected = expect_unseen(model, theta_NQ, covariance, anchors)
    gradient_NQ = expected.gradient_NQ
    toward = covariance @ direction
    along_var = float(direction @ toward)
    common_N = gradient_NQ @ toward
    whole_N = np.einsum("nq,qr,nr->n", gradient_NQ, covariance, gradient_NQ)
    rest_N = np.maximum(whole_N - common_N**2 / along_var, 0.0)
    totals = Totals(
        center_N=expected.mean_N,
        slope_N=common_N / along_var,
        spread_N=np.sqrt(rest_N),
        along_N=theta_NQ @ direction,
        along_var_N=np.full(len(theta_NQ), along_var),
    )
    return totals, expected.own_N


def _totals(fitted: Fitted, direction: np.ndarray, kappa: float) -> Totals:
    """Final wins of the incomplete rows."""
    model, num_anchors = fitted.model, fitted.num_anchors
    columns = np.zeros((5, len(fitted.wins_N)))
    for stage, rows in fitted.stages():
        if stage == ALL:
            continue
        covariance = fitted.covariance(stage)
        unseen = np.setdiff1d(np.arange(num_anchors), fitted.seen.met(stage, num_anchors))
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            theta_NQ = fitted.evidence_NQ[part] @ covariance
            given, own_N = wins_given_eta(model, theta_NQ, covariance, unseen, direction)
            # what kappa adds is of the whole variance, that along g included
            whole_N = own_N + given.spread_N**2 + given.slope_N**2 * given.along_var_N
            variance_N = own_N + given.spread_N**2 + (kappa - 1) * whole_N + 1 / 12
            columns[0, part] = fitted.wins_N[part] + 0.5 + given.center_N
            columns[1, part], columns[2, part] = given.slope_N, np.sqrt(variance_N)
            columns[3, part], columns[4, part] = given.along_N, given.along_var_N
    return Totals(*columns[:, fitted.incomplete])


def _kappa(fitted: Fitted) -> float:
    """By how much the stated variance of predicted wins is too small, within [1, 2]: rows of the
    pilot predicted by a model fitted on the others, after each of the blocks. The error's mean over
    a fold is taken out: what moves all rows alike does not change the ranking.
    """
    delta_PM = fitted.pilot_delta_PM
    blocks = fitted.seen.blocks
    ratios: list[float] = []
    for fold in range(NUM_FOLDS):
        is_held_P = np.arange(len(delta_PM)) % NUM_FOLDS == fold
        model = fit(delta_PM[~is_held_P], rounding_M=fitted.model.rounding_M)
        for stage in range(1, len(blocks) + 1):
            met = first_blocks(blocks, stage)
            ratios.extend(_squared_errors(model, delta_PM[is_held_P], met))
    return float(np.clip(np.mean(ratios), 1, MAX_KAPPA)) if ratios else 1.0


def _squared_errors(model: FactorModel, delta_PM: np.ndarray, met: np.ndarray) -> np.ndarray:
    """Squared error of the wins predicted from the anchors `met`, over the stated variance, of the
    upper half of the rows."""
    unseen = np.setdiff1d(np.arange(delta_PM.shape[1]), met)
    if not len(unseen):
        return np.zeros(0)
    covariance = model.covariance(met)
    theta_PQ = model.evidence(delta_PM[:, met], met) @ covariance
    expected = expect_unseen(model, theta_PQ, covariance, unseen)
    gradient_PQ = expected.gradient_NQ
    variance_P = expected.own_N + np.einsum("pq,qr,pr->p", gradient_PQ, covariance, gradient_PQ)
    error_P = np.sum(delta_PM[:, unseen] > 0, axis=1) - expected.mean_N
    is_upper_P = expected.mean_N >= np.median(expected.mean_N)
    error_P = error_P[is_upper_P] - error_P[is_upper_P].mean()
    ratio: np.ndarray = error_P**2 / np.maximum(variance_P[is_upper_P], 1 / 12)
    return ratio
