"""bench=real_matrix: the race and the scores on the deltas of real rows, which a full run measured.

Replay: the race for the best 5% and the best 10%, each seed with another pilot, as bench=race.
Scores: what each way of ranking by n anchors finds, judged by the win share over 50 other anchors;
        `quality` is 0 for the mean row and 1 for the best that those 50 could name themselves.
Halves: how well two sets of 50 anchors agree on a ranking, and on its top 5%.

Legend: N candidates, M anchors.
"""

import logging
from dataclasses import dataclass, fields
from importlib.resources import as_file, files
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from nuggets_ray.bench.plan import BenchResults
from nuggets_ray.bench.race import METRICS, outcome, summarise
from nuggets_ray.bench.rows import Row, make_row
from nuggets_ray.bench.session import check_request, finish
from nuggets_ray.bench.worlds import RaceWorld
from nuggets_ray.config.schema import Config
from nuggets_ray.errors import UserError
from nuggets_ray.markdown import markdown_table
from nuggets_ray.schedule.posterior import posterior_of_run
from nuggets_ray.schedule.race import RaceSettings
from nuggets_ray.schedule.seen import ALL, Entrants, Seen, SeenPart
from nuggets_ray.signals.standardised_delta import Spread, standardised_delta

logger = logging.getLogger(__name__)

PACKAGED = "alpaca_500x100.npz"
SHARES = (0.05, 0.10)
TOP_SHARE = 0.05
SET_SIZES = (10, 25, 50)
RANKINGS = ("win share", "mean delta", "mean standardised delta", "posterior")


@dataclass(frozen=True, slots=True)
class RealMatrix:
    """What bench.matrix keeps of a run: deltas in nats (N, M), tokens of demonstrations (N,), of
    anchors with their prompts, and of their answers (M,)."""

    delta_NA: np.ndarray
    demo_tokens_N: np.ndarray
    anchor_tokens_A: np.ndarray
    answer_tokens_A: np.ndarray


def read_matrix(path: str | None) -> RealMatrix:
    """The matrix in an npz file that `python -m nuggets_ray.bench.matrix keep` wrote; None: the one
    that comes along. Raises UserError for another file."""
    with as_file(files("nuggets_ray.bench") / "matrices" / PACKAGED) as packaged:
        try:
            with np.load(path or packaged) as arrays:
                return RealMatrix(*(arrays[field.name] for field in fields(RealMatrix)))
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"bench.matrix={path}: not a matrix file ({error}): make one with "
                "python -m nuggets_ray.bench.matrix keep RUN FILE.npz"
            ) from error


def ranking_scores(
    kind: str, matrix: RealMatrix, anchors: np.ndarray, seed: int = 0
) -> np.ndarray | None:
    """How `kind` of `RANKINGS` scores every row by these anchors alone, (N,); None where the
    anchors or rows are too few for it."""
    delta = matrix.delta_NA[:, anchors]
    if kind == "win share":  # ties, of which there are many, by mean delta
        wins: np.ndarray = (delta > 0).mean(axis=1) + 1e-6 * delta.mean(axis=1)
        return wins
    if kind == "mean delta":
        mean: np.ndarray = delta.mean(axis=1)
        return mean
    if kind == "mean standardised delta":
        spread = Spread(len(anchors))
        spread.add(delta)
        return standardised_delta(delta, spread.sd_A)
    num_rows = len(delta)
    hash_N = np.random.default_rng(seed).permutation(num_rows).astype(np.uint64)
    entrants = Entrants(hash_N, matrix.demo_tokens_N, matrix.anchor_tokens_A[anchors])
    every = SeenPart(np.arange(num_rows), np.arange(len(anchors)), delta)
    seen = Seen(np.full(num_rows, ALL), [], lambda: [every])
    scores = posterior_of_run(entrants, seen, RaceSettings(round(TOP_SHARE * num_rows)))
    return None if isinstance(scores, str) else scores.score_N


def bench(config: Config) -> dict[str, Any]:
    """Replay `bench.repeats` races and compare rankings on as many draws of anchors; print, write
    and log; the JSON object of the last line. Raises UserError for a file that is no matrix."""
    check_request(config, [], [])
    matrix = read_matrix(config.bench.matrix)
    num_rows, num_anchors = matrix.delta_NA.shape
    repeats = config.bench.repeats
    rows: list[Row] = []
    tables = [
        f"{num_rows} real rows x {num_anchors} anchors, {repeats} seeds; the best {TOP_SHARE:.0%} "
        "where nothing else is said."
    ]
    for title, head, lines in (
        ("The race", ["case", *METRICS], _replays(matrix, repeats, rows)),
        ("Rankings", ["score", *_sizes()], _qualities(matrix, repeats, rows)),
        ("Halves", ["score", "correlation", "top shared"], _halves(matrix, repeats, rows)),
    ):
        tables.append(f"{title}:\n\n{markdown_table(head, lines)}")
    return finish(config, "\n\n".join(tables), rows, BenchResults())


def _sizes() -> list[str]:
    return [f"{size} anchors" for size in SET_SIZES]


def _replays(matrix: RealMatrix, repeats: int, rows: list[Row]) -> list[list[str]]:
    lines = []
    for share in SHARES:
        case = f"best {share:.0%}"
        top_k = round(share * len(matrix.delta_NA))
        outcomes = [outcome(_world(matrix), top_k, seed) for seed in range(repeats)]
        figures = summarise(outcomes)
        rows += [make_row(case, "race", key, v, METRICS[key]) for key, v in figures.items()]
        lines.append([case, *(f"{v:.3f}" if v <= 1 else f"{v:.2f}" for v in figures.values())])
    return lines


def _world(matrix: RealMatrix) -> RaceWorld:
    return RaceWorld(matrix.delta_NA, matrix.demo_tokens_N, matrix.anchor_tokens_A)


def _qualities(matrix: RealMatrix, repeats: int, rows: list[Row]) -> list[list[str]]:
    """Rank by some anchors, judge by 50 others."""
    num_anchors = matrix.delta_NA.shape[1]
    lines = []
    for kind in RANKINGS:
        cells = [kind]
        for size in SET_SIZES:
            qualities = []
            for seed in range(repeats):
                order = np.random.default_rng(seed).permutation(num_anchors)
                judges = order[: num_anchors // 2]
                score_N = ranking_scores(kind, matrix, order[num_anchors // 2 :][:size], seed)
                if score_N is not None:
                    qualities.append(_quality(matrix, judges, score_N))
            cells.append(f"{np.mean(qualities):.3f}" if qualities else "-")
            if qualities:
                value = float(np.mean(qualities))
                rows.append(make_row(f"{size} anchors", kind, "quality", value, ""))
        lines.append(cells)
    return lines


def _quality(matrix: RealMatrix, judges: np.ndarray, score_N: np.ndarray) -> float:
    truth_N = (matrix.delta_NA[:, judges] > 0).mean(axis=1)
    num_top = round(TOP_SHARE * len(truth_N))
    chosen = np.argsort(-score_N, kind="stable")[:num_top]
    best, mean = np.sort(truth_N)[-num_top:].mean(), truth_N.mean()
    return float((truth_N[chosen].mean() - mean) / (best - mean))


def _halves(matrix: RealMatrix, repeats: int, rows: list[Row]) -> list[list[str]]:
    num_rows, num_anchors = matrix.delta_NA.shape
    num_top = round(TOP_SHARE * num_rows)
    lines = []
    for kind in RANKINGS:
        correlations, shared = [], []
        for seed in range(repeats):
            order = np.random.default_rng(seed).permutation(num_anchors)
            halves = np.array_split(order, 2)
            scores = [ranking_scores(kind, matrix, half, seed) for half in halves]
            one, other = scores
            if one is None or other is None:
                continue
            correlations.append(spearmanr(one, other).statistic)
            tops = [np.argsort(-s, kind="stable")[:num_top] for s in (one, other)]
            shared.append(len(np.intersect1d(tops[0], tops[1])) / num_top)
        if not correlations:
            lines.append([kind, "-", "-"])
            continue
        for key, values in (("correlation", correlations), ("top_shared", shared)):
            rows.append(make_row("halves", kind, key, float(np.mean(values)), ""))
        lines.append([kind, f"{np.mean(correlations):.3f}", f"{np.mean(shared):.3f}"])
    return lines
