"""How far the rows go next: the cheapest way to spend the barriers that are left.

A row that met the first n anchors ends at the cut-off or above with probability P = Phi(x),
x = (expected wins - tau) / sqrt(v_n). More anchors move what is expected as a martingale:

    x' = (x sqrt(v_n) + e sqrt(v_n - v_n')) / sqrt(v_n'),  e ~ N(0, 1)

so that what a row will cost from here, in tokens, with b barriers left, follows from the last
barrier back (a lost winner costs `price`):

    V_0 = price P
    V_b = min(price P                                    leave it behind
              V_b-1                                      not at this barrier
              cost(n, n') + E V_b-1(n', x')              meet the anchors up to n'
              cost(n, M))                                meet all

The price is the one at which the winners expected to be lost, of all rows, are those that may be.
All rows of a barrier stop at the same n', the one that makes the sum over the rows least; here no
row waits for a better one.

Legend: J numbers of anchors met, ascending, the last of them all; X grid points of x.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from nuggets_ray.schedule.factor_model import FactorModel, expect_unseen

GRID_X = np.linspace(-6.0, 6.0, 49)
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
NUM_STOPS = 12
FRONT_SHARE = 0.9
"""Of the rows that are worth going on with, those that the next stop must be ahead of."""
SMALLEST_PRICE, LARGEST_PRICE, BISECTIONS = 1.0, 1e12, 40


@dataclass(frozen=True, slots=True)
class Road:
    """Where rows can stop: after `ends_J` anchors; `variance_J` of a row's final wins there, which
    falls to 0, and `anchor_tokens_J` of those anchors together."""

    ends_J: np.ndarray
    variance_J: np.ndarray
    anchor_tokens_J: np.ndarray

    def cost_JJ(self, demo_tokens: float) -> np.ndarray:
        """Tokens of a row from one to another, its demonstration read again; infinite where that is
        not ahead."""
        step_JJ = self.anchor_tokens_J - self.anchor_tokens_J[:, None]
        return np.where(step_JJ > 0, step_JJ + demo_tokens, np.inf)


@dataclass(frozen=True, slots=True)
class Step:
    """The next barrier: rows stop at `stop` (index into J). `goes_I` are asked, `stays_I` keep
    their place for a later barrier; the others are left behind."""

    stop: int
    goes_I: np.ndarray
    stays_I: np.ndarray


def road_ahead(
    model: FactorModel,
    blocks: Sequence[np.ndarray],
    order: np.ndarray,
    anchor_tokens_M: np.ndarray,
    aim: np.ndarray,
) -> Road:
    """The road of a row at theta = `aim` (Q,) along the recorded blocks and then the anchors of
    `order`: stops after each block, NUM_STOPS further on, and the end."""
    every = np.concatenate([*blocks, order])
    recorded = np.cumsum([len(block) for block in blocks])
    between = np.geomspace(recorded[-1], len(every), NUM_STOPS + 2)[1:-1].round().astype(np.int64)
    ends_J = np.unique(np.concatenate([recorded, between, [len(every)]]))
    variance_J = np.zeros(len(ends_J))
    for stop, end in enumerate(ends_J[:-1]):
        covariance = model.covariance(every[:end])
        expected = expect_unseen(model, aim[None], covariance, every[end:])
        gradient = expected.gradient_NQ[0]
        variance_J[stop] = expected.own_N[0] + gradient @ covariance @ gradient + 1 / 12
    return Road(ends_J, variance_J, np.cumsum(anchor_tokens_M[every])[ends_J - 1])


def next_step(
    road: Road,
    demo_tokens: float,
    at_I: np.ndarray,
    probability_I: np.ndarray,
    num_barriers: int,
    may_lose: float,
) -> Step:
    """The next of `num_barriers` barriers for rows that met `at_I` (index into J) and end at the
    cut-off or above with `probability_I`; `may_lose` of the winners may be lost, expected."""
    x_I = np.clip(ndtri(np.clip(probability_I, 0.0, 1.0)), GRID_X[0], GRID_X[-1])
    rows_JX = _histogram(at_I, x_I, len(road.variance_J))
    moves, cost_JJ = _transitions(road.variance_J), road.cost_JJ(demo_tokens)
    low, high = SMALLEST_PRICE, LARGEST_PRICE
    for _ in range(BISECTIONS):
        price = np.sqrt(low * high)
        _, lost_JX = _value(cost_JJ, moves, price, num_barriers)
        if np.sum(rows_JX * lost_JX) > may_lose:
            low = price
        else:
            high = price
    later_JX, _ = _value(cost_JJ, moves, high, num_barriers - 1)
    go_JJX = _go(cost_JJ, moves, later_JX)
    leave_X = high * ndtr(GRID_X)
    # Rows that are as far as the stop, or further, wait.
    next_JJX = np.where(np.isfinite(go_JJX), go_JJX, later_JX[:, None])
    total_J = np.sum(rows_JX[:, None] * np.minimum(next_JJX, leave_X), axis=(0, 2))
    open_J = np.sum(rows_JX * (go_JJX.min(axis=1) < leave_X), axis=1)
    front = int(np.searchsorted(np.cumsum(open_J), FRONT_SHARE * open_J.sum()))
    stop = front + 1 + int(np.argmin(total_J[front + 1 :]))
    is_worth_I = _at(next_JJX[:, stop], at_I, x_I) < high * probability_I
    return Step(stop, is_worth_I & (at_I < stop), is_worth_I & (at_I >= stop))


def _value(
    cost_JJ: np.ndarray, moves: np.ndarray, price: float, num_barriers: int
) -> tuple[np.ndarray, np.ndarray]:
    """V (J, X), and the probability that the row is a winner that will be lost."""
    winner_X = ndtr(GRID_X)
    num_stops = len(cost_JJ)
    leave_JX = np.tile(price * winner_X, (num_stops, 1))
    value_JX, lost_JX = leave_JX, np.tile(winner_X, (num_stops, 1))
    for _ in range(num_barriers):
        go_JJX = _go(cost_JJ, moves, value_JX)
        best_JX = np.argmin(go_JJX, axis=1)
        goes_JX = np.take_along_axis(go_JJX, best_JX[:, None], axis=1)[:, 0]
        lost_JJX = np.einsum("jkxy,ky->jkx", moves, lost_JX)
        lost_then_JX = np.take_along_axis(lost_JJX, best_JX[:, None], axis=1)[:, 0]
        is_going_JX = goes_JX < value_JX
        value_JX = np.where(is_going_JX, goes_JX, value_JX)
        lost_JX = np.where(is_going_JX, lost_then_JX, lost_JX)
    return value_JX, lost_JX


def _go(cost_JJ: np.ndarray, moves: np.ndarray, later_JX: np.ndarray) -> np.ndarray:
    """Cost of going from each to each, and what is to be expected there, (J, J, X)."""
    expected_JJX = np.einsum("jkxy,ky->jkx", moves, later_JX)
    cost: np.ndarray = cost_JJ[:, :, None] + expected_JJX
    return cost


def _transitions(variance_J: np.ndarray) -> np.ndarray:
    """Weights on the grid of where x goes between each two, (J, J, X, X); none where a row met
    every anchor: nothing is left to be lost or paid."""
    num_stops, num_points = len(variance_J), len(GRID_X)
    moves = np.zeros((num_stops, num_stops, num_points, num_points))
    spacing = GRID_X[1] - GRID_X[0]
    point_X = np.arange(num_points)[:, None]
    for here in range(num_stops - 1):
        for there in range(here + 1, num_stops - 1):
            told = max(variance_J[here] - variance_J[there], 0.0)
            moved = GRID_X[:, None] * np.sqrt(variance_J[here]) + NODES * np.sqrt(told)
            x = np.clip(moved / np.sqrt(variance_J[there]), GRID_X[0], GRID_X[-1])
            place = np.clip((x - GRID_X[0]) / spacing, 0, num_points - 1 - 1e-9)
            below = place.astype(np.int64)
            share = WEIGHTS / WEIGHTS.sum()
            np.add.at(moves[here, there], (point_X, below), share * (below + 1 - place))
            np.add.at(moves[here, there], (point_X, below + 1), share * (place - below))
    return moves


def _histogram(at_I: np.ndarray, x_I: np.ndarray, num_stops: int) -> np.ndarray:
    """Rows by place and x, (J, X), each shared between its two grid points."""
    place_I = np.minimum((x_I - GRID_X[0]) / (GRID_X[1] - GRID_X[0]), len(GRID_X) - 1 - 1e-9)
    below_I = place_I.astype(np.int64)
    rows_JX = np.zeros((num_stops, len(GRID_X)))
    np.add.at(rows_JX, (at_I, below_I), below_I + 1 - place_I)
    np.add.at(rows_JX, (at_I, below_I + 1), place_I - below_I)
    return rows_JX


def _at(values_JX: np.ndarray, at_I: np.ndarray, x_I: np.ndarray) -> np.ndarray:
    """Values at each row's place."""
    result_I = np.empty(len(at_I))
    for stop in np.unique(at_I):
        is_here = at_I == stop
        result_I[is_here] = np.interp(x_I[is_here], GRID_X, values_JX[stop])
    return result_I
