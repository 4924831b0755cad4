"""RDS+: how near a row is to the anchors in the model's own last hidden states (arXiv 2503.01807).

    state(row)    = sum over its tokens t = 1..T of  t / (1 + ... + T) * last hidden state of t
    cosine(n, a)  = cosine of state(row n) and state(anchor a)
    rds(n)        = max over anchors of cosine(n, a)

Its authors select round-robin: the anchors in turn take the row nearest to them, one that is taken
already costs its turn. So row n comes at turn min over a of (its rank for anchor a) * A + a, which
`round_robin` computes at once. Rows and anchors are rendered in the run's prompt, header included;
a row is not compared with itself as an anchor. Legend: N rows, A anchors, E hidden size.
"""

import numpy as np


def position_weights(num_tokens: int) -> np.ndarray:
    """Weights of a sequence's tokens, (T,) float32, of sum 1: later ones, which have seen more,
    count more (SGPT's pooling, arXiv 2202.08904)."""
    weight_T = np.arange(1, num_tokens + 1, dtype=np.float64)
    weight_T /= weight_T.sum()
    return weight_T.astype(np.float32)


def cosines(state_NE: np.ndarray, anchor_AE: np.ndarray) -> np.ndarray:
    """Cosine of every row's state with every anchor's: (N, A) float32; NaN where a state is zero or
    not finite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        unit_NE, unit_AE = (
            state / np.linalg.norm(state, axis=1, keepdims=True)
            for state in (state_NE.astype(np.float64), anchor_AE.astype(np.float64))
        )
        cosine_NA: np.ndarray = (unit_NE @ unit_AE.T).astype(np.float32)
    return cosine_NA


def nearest(cosine_NA: np.ndarray) -> np.ndarray:
    """rds: the cosine with the nearest anchor, (N,) float64; NaN where there is none at all."""
    filled_NA = np.where(np.isnan(cosine_NA), -np.inf, cosine_NA)
    best_N = filled_NA.max(axis=1, initial=-np.inf).astype(np.float64)
    return np.where(np.isfinite(best_N), best_N, np.nan)


def round_robin(cosine_NA: np.ndarray, tie_N: np.ndarray) -> np.ndarray:
    """The turn at which each row is taken, (N,) float64, counted from 0; NaN where it never is.

    Of equally near rows that with the smaller `tie_N` (its id) comes first.
    """
    num_rows, num_anchors = cosine_NA.shape
    tie_rank_N = np.empty(num_rows, np.int64)
    tie_rank_N[np.argsort(tie_N, kind="stable")] = np.arange(num_rows)
    turn_N = np.full(num_rows, np.inf)
    for anchor in range(num_anchors):
        column_N = cosine_NA[:, anchor]
        order = np.lexsort((tie_rank_N, -column_N))
        rank_N = np.empty(num_rows, np.int64)
        rank_N[order] = np.arange(num_rows)
        own_turn_N = np.where(np.isnan(column_N), np.inf, rank_N * num_anchors + anchor)
        turn_N = np.minimum(turn_N, own_turn_N)
    return np.where(np.isfinite(turn_N), turn_N, np.nan)
