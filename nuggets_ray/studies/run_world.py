"""A world like the run: rows drawn from the factor model of its deltas, with the run's own lengths.

    theta = that of a random row of the run + what is not known of it
    delta = model(theta) + noise

So more rows than were scored can be raced over the same anchors. Legend: N rows, A anchors, Q
factors.
"""

from dataclasses import dataclass

import numpy as np

from nuggets_ray.schedule.factor_model import fit

MAX_FIT_ROWS = 4000


@dataclass(slots=True)
class RunWorld:
    """As schedule/rehearse.py takes it; `passes`, `tokens`, `answer_bytes` count what was asked."""

    delta: np.ndarray
    demo_tokens: np.ndarray
    anchor_tokens: np.ndarray
    passes: int = 0
    tokens: float = 0.0
    answer_bytes: int = 0
    rounds: int = 0

    def ask(self, rows: np.ndarray, anchors: np.ndarray) -> np.ndarray:
        """The deltas of `rows` on `anchors`; every row's demonstration is read again."""
        self.passes += len(rows) * len(anchors)
        per_row = float(self.anchor_tokens[anchors].sum())
        self.tokens += float(self.demo_tokens[rows].sum()) + len(rows) * per_row
        asked: np.ndarray = self.delta[np.ix_(rows, anchors)]
        self.answer_bytes += asked.nbytes
        return asked

    @property
    def full_tokens(self) -> float:
        """What full scoring would read."""
        num_rows = len(self.demo_tokens)
        return float(self.demo_tokens.sum() + num_rows * self.anchor_tokens.sum())


def world_like(
    delta_NA: np.ndarray,
    demo_tokens_N: np.ndarray,
    anchor_tokens_A: np.ndarray,
    num_rows: int,
    seed: int,
) -> RunWorld:
    """`num_rows` rows that behave as those of (N, A) deltas; lengths are drawn with the rows, from
    `demo_tokens_N` (N,)."""
    rng = np.random.default_rng([seed, num_rows])
    sample = rng.permutation(len(delta_NA))[:MAX_FIT_ROWS]
    model = fit(delta_NA[sample].astype(np.float64))
    every = np.arange(delta_NA.shape[1])
    covariance = model.covariance(every)
    theta_NQ = model.evidence(delta_NA[sample], every) @ covariance
    drawn = rng.integers(0, len(sample), num_rows)
    unknown = np.linalg.cholesky(covariance + 1e-9 * np.eye(model.num_factors))
    theta = theta_NQ[drawn] + rng.standard_normal((num_rows, model.num_factors)) @ unknown.T
    delta = rng.standard_normal((num_rows, len(every)), dtype=np.float32)
    delta *= np.sqrt(model.noise_M).astype(np.float32)
    delta += (theta @ model.loadings_MQ.T + model.intercept_M).astype(np.float32)
    # the model's wins are at its own cuts, which are the anchors' observed win rates
    delta = (delta - model.cut_M.astype(np.float32)) * model.scale_M.astype(np.float32)
    return RunWorld(delta, demo_tokens_N[sample][drawn], anchor_tokens_A)
