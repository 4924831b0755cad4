"""How often the 95% intervals of results.json hold the truth: experiments of known truth.

    python -m nuggets_ray.evaluate.simulations.coverage        about three minutes of one core
Prints the table that stands in nuggets_ray/evaluate/README.md. Suffix: N rows.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nuggets_ray.evaluate import stats
from nuggets_ray.evaluate.benchmarks.length import length_adjusted_win_rate
from nuggets_ray.markdown import markdown_table

NUM_EXPERIMENTS = 1000
Experiment = Callable[[np.random.Generator, int, int], stats.Bounds | None]
"""(generator, rows, seed) -> the interval of one experiment; None: there is none."""


@dataclass(frozen=True, slots=True)
class Case:
    """An interval and what it is of; `truth` is what it should hold, after so many rows."""

    interval: str
    of: str
    truth: float
    num_rows: int
    experiment: Experiment
    cost: int = 1
    """Experiments are fewer by this factor: each takes so much longer."""


def coverage(case: Case, num_experiments: int) -> tuple[float, int]:
    """(the share of intervals that hold the truth, of how many experiments): those without an
    interval claim nothing and are left out.
    """
    rng = np.random.default_rng(0)
    num_held = num_intervals = 0
    for seed in range(num_experiments // case.cost):
        bounds = case.experiment(rng, case.num_rows, seed)
        if bounds is not None:
            num_intervals += 1
            num_held += bounds[0] <= case.truth <= bounds[1]
    return num_held / num_intervals, num_intervals


def _mean_of(draw: Callable[[np.random.Generator, int], np.ndarray]) -> Experiment:
    return lambda rng, n, seed: stats.bootstrap_interval(draw(rng, n), seed)


def _tokens(rng: np.random.Generator, num_rows: int) -> np.ndarray:
    """Answer lengths as those of instruction data: a median of 55 tokens, some of 1,000."""
    return np.ceil(rng.lognormal(4.0, 1.0, num_rows))


def _by_tokens(slope: float) -> Experiment:
    """Log-probs a token weighted by length, which rise by `slope` nats with its logarithm."""

    def experiment(rng: np.random.Generator, num_rows: int, seed: int) -> stats.Bounds | None:
        weight_N = _tokens(rng, num_rows)
        value_N = rng.normal(-2.0, 0.7, num_rows) + slope * (np.log(weight_N) - 4.0)
        return stats.bootstrap_interval(value_N, seed, weight_N)

    return experiment


def _truth_by_tokens(slope: float) -> float:
    """sum(w x) / sum(w) over very many rows."""
    weight_N = _tokens(np.random.default_rng(1), 4_000_000)
    return -2.0 + slope * float((weight_N * (np.log(weight_N) - 4.0)).sum() / weight_N.sum())


def _rate(share: float, tied: float) -> Experiment:
    """A win rate of `share` among the rows that are not tied."""

    def experiment(rng: np.random.Generator, num_rows: int, seed: int) -> stats.Bounds | None:
        won_N = (rng.random(num_rows) < share).astype(float)
        won_N[rng.random(num_rows) < tied] = 0.5
        return stats.share_interval(won_N)

    return experiment


def _length_matched(rng: np.random.Generator, num_rows: int, seed: int) -> stats.Bounds | None:
    """Four quartiles of rows, won at 0.5 to 0.8, counting for 10 to 40%: 0.68 in all."""
    stratum_N = np.arange(num_rows) * 4 // num_rows
    won_N = (rng.random(num_rows) < np.array([0.5, 0.6, 0.7, 0.8])[stratum_N]).astype(float)
    share_S = np.array([0.1, 0.2, 0.3, 0.4]) / np.bincount(stratum_N)
    return stats.bootstrap_interval(won_N, seed, share_S[stratum_N], stratum_N)


def _length_adjusted(rng: np.random.Generator, num_rows: int, seed: int) -> stats.Bounds | None:
    """A judge that sees length alone, asked in both orders; answers are longer by 300 +- 300."""
    difference_N = rng.normal(300, 300, num_rows)
    p_N = 1 / (1 + np.exp(-difference_N / 300))
    preference_N = (rng.random((2, num_rows)) < p_N).mean(axis=0)
    found = length_adjusted_win_rate(preference_N, difference_N, seed)
    return None if found.low is None or found.high is None else (found.low, found.high)


def _grades(rng: np.random.Generator, num_rows: int) -> np.ndarray:
    """A judge's grades: 1 to 10, mostly high."""
    return np.clip(np.round(10 - rng.exponential(2.0, num_rows)), 1, 10)


_GRADE = float(_grades(np.random.default_rng(1), 1_000_000).mean())
_MEAN, _WEIGHTED, _SHARE = "a mean", "the same, by tokens", "a win rate, Wilson"
CASES = (
    Case(_MEAN, "normal values", 0.0, 30, _mean_of(lambda rng, n: rng.normal(size=n))),
    Case(_MEAN, "Student's t, 3 degrees", 0.0, 30, _mean_of(lambda r, n: r.standard_t(3, n))),
    Case(_MEAN, "exponential values", 1.0, 30, _mean_of(lambda rng, n: rng.exponential(size=n))),
    Case(_MEAN, "log-normal values", np.exp(0.5), 30, _mean_of(lambda r, n: r.lognormal(size=n))),
    Case(_MEAN, "grades of 1 to 10", _GRADE, 30, _mean_of(_grades)),
    Case(_MEAN, "exponential values", 1.0, 200, _mean_of(lambda rng, n: rng.exponential(size=n))),
    Case(_WEIGHTED, "log-probs", -2.0, 30, _by_tokens(0.0)),
    Case(_WEIGHTED, "log-probs, better in long rows", _truth_by_tokens(0.2), 30, _by_tokens(0.2)),
    Case(_WEIGHTED, "log-probs, better in long rows", _truth_by_tokens(0.2), 500, _by_tokens(0.2)),
    Case(_SHARE, "0.5", 0.5, 10, _rate(0.5, 0.0)),
    Case(_SHARE, "0.9", 0.9, 30, _rate(0.9, 0.0)),
    Case(_SHARE, "0.74 with 40% tied", 0.74, 30, _rate(0.9, 0.4)),
    Case("length-matched win rate", "0.68 over quartiles", 0.68, 40, _length_matched),
    Case("length-adjusted win rate", "50 by a judge of length", 50.0, 300, _length_adjusted, 5),
)


def table(num_experiments: int) -> str:
    """The coverage of each case, in Markdown."""
    rows = []
    for case in CASES:
        share, number = coverage(case, num_experiments)
        rows.append((case.interval, case.of, str(case.num_rows), f"{share:.3f}", str(number)))
    header = ("interval of", "what", "rows", "holds the truth", "experiments")
    return markdown_table(header, rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=NUM_EXPERIMENTS)
    print(table(parser.parse_args().experiments))


if __name__ == "__main__":
    main()
