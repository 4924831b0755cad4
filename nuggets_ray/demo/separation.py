"""How well a score separates whole candidates from damaged ones, and the demo's printed tables.

AUC = P(score of a whole row > score of a damaged row), ties half (Mann-Whitney), with a 95%
bootstrap interval that resamples source rows, because a damaged copy and its original are paired.
Suffixes: N rows, W whole, D damaged, S source rows, B resamples. Imports numpy and markdown only.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nuggets_ray.markdown import markdown_table

ALL_KINDS = "all"
LOWER_IS_BETTER = frozenset({"perplexity"})
NUM_RESAMPLES = 2000
EXCERPT_CHARS = 70
MIN_ROWS = 3
"""Of fewer rows an AUC says nothing, whatever its interval."""


@dataclass(frozen=True, slots=True)
class Separation:
    """The AUC of one measure against one kind of damage ("all": any), with its 95% interval."""

    measure: str
    kind: str
    auc: float
    auc_low: float
    auc_high: float
    num_whole: int
    num_damaged: int


@dataclass(frozen=True, slots=True)
class ScoredCandidate:
    """What the demo prints of one candidate."""

    example_id: str
    golden_score: float
    score_low: float
    score_high: float
    mean_delta: float
    category: str
    damage: str
    instruction: str
    answer: str


def stand_for_all(
    scores: Sequence[Mapping[str, Any]], pilot_ids: Collection[str]
) -> list[Mapping[str, Any]]:
    """The rows of scores/ on which a golden score can be compared: all, or where a race left some
    without one, those that it drew at random to be complete (content_ids)."""
    if all(score["golden_score"] is not None for score in scores):
        return list(scores)
    return [
        score
        for score in scores
        if score["golden_score"] is not None and score["content_id"] in pilot_ids
    ]


def describe(score: Mapping[str, Any], row: Mapping[str, Any]) -> ScoredCandidate:
    """A row of scores/ and the row of the demo's data that it is of."""
    return ScoredCandidate(
        example_id=score["example_id"],
        golden_score=score["golden_score"],
        score_low=score["score_low"],
        score_high=score["score_high"],
        mean_delta=score["mean_delta"],
        category=row["category"],
        damage=row["damage"],
        instruction=row["instruction"],
        answer=row["output"],
    )


def measures_of(
    scores: Sequence[Mapping[str, Any]], perplexity: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """{measure: (N,)} of rows of scores/: the golden score, and what stands beside it;
    `perplexity` {example_id: of the answer}.
    """
    return {
        "golden score": np.array([score["golden_score"] for score in scores]),
        "mean delta": np.array([score["mean_delta"] for score in scores]),
        "answer length": np.array([float(score["num_answer_tokens"]) for score in scores]),
        "perplexity": np.array([perplexity[score["example_id"]] for score in scores]),
    }


def auc(whole_W: np.ndarray, damaged_D: np.ndarray) -> float:
    """Probability that a whole row scores above a damaged one, ties half, over all W x D pairs."""
    return float(_preference(whole_W, damaged_D).mean())


def separation(
    measures: Mapping[str, np.ndarray],
    damage_N: np.ndarray,
    source_row_N: np.ndarray,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> list[Separation]:
    """AUC of every measure, against all damage and each kind of it apart.

    `measures` maps a name to shape (N,); those in LOWER_IS_BETTER count the other way round.
    `damage_N` is "none" for whole rows, else the kind; `source_row_N` is the original's number.
    A kind without rows gets no line; without whole or without damaged rows there are none at all.
    ValueError if a measure has another shape, or a number that is not finite: a missing score
    must not look like a bad one.
    """
    damage_N, source_row_N = np.asarray(damage_N), np.asarray(source_row_N)
    is_whole_N = damage_N == "none"
    kinds = [ALL_KINDS, *sorted(set(damage_N[~is_whole_N].tolist()))]
    if is_whole_N.all() or not is_whole_N.any():
        return []
    weights_BN = _resample_weights(source_row_N, num_resamples, seed)
    lines = []
    for measure, values in measures.items():
        score_N = np.asarray(values, dtype=np.float64)
        if score_N.shape != damage_N.shape or not np.isfinite(score_N).all():
            raise ValueError(f"{measure}: expected {len(damage_N)} finite numbers")
        if measure in LOWER_IS_BETTER:
            score_N = -score_N
        for kind in kinds:
            is_damaged_N = ~is_whole_N if kind == ALL_KINDS else damage_N == kind
            preference_WD = _preference(score_N[is_whole_N], score_N[is_damaged_N])
            weights_BW, weights_BD = weights_BN[:, is_whole_N], weights_BN[:, is_damaged_N]
            low, high = _interval(preference_WD, weights_BW, weights_BD)
            estimate = float(preference_WD.mean())
            lines.append(Separation(measure, kind, estimate, low, high, *preference_WD.shape))
    return lines


def _preference(whole_W: np.ndarray, damaged_D: np.ndarray) -> np.ndarray:
    difference_WD = np.asarray(whole_W)[:, None] - np.asarray(damaged_D)[None, :]
    return np.asarray(np.where(difference_WD > 0, 1.0, np.where(difference_WD == 0, 0.5, 0.0)))


def _resample_weights(source_row_N: np.ndarray, num_resamples: int, seed: int) -> np.ndarray:
    """How often each row is drawn when its source row is: shape (B, N)."""
    sources_S, cluster_N = np.unique(source_row_N, return_inverse=True)
    num_sources = len(sources_S)
    shares_S = np.full(num_sources, 1 / num_sources)
    counts_BS = np.random.default_rng(seed).multinomial(num_sources, shares_S, size=num_resamples)
    return np.asarray(counts_BS[:, cluster_N], dtype=np.float64)


def _interval(
    preference_WD: np.ndarray, weights_BW: np.ndarray, weights_BD: np.ndarray
) -> tuple[float, float]:
    """Quantiles of the weighted AUC over the resamples that drew both whole and damaged rows."""
    num_pairs_B = weights_BW.sum(axis=1) * weights_BD.sum(axis=1)
    has_pairs_B = num_pairs_B > 0
    wins_B = ((weights_BW @ preference_WD) * weights_BD).sum(axis=1)
    low, high = np.quantile(wins_B[has_pairs_B] / num_pairs_B[has_pairs_B], [0.025, 0.975])
    return float(low), float(high)


def format_separation(lines: Sequence[Separation]) -> str:
    """A Markdown table with aligned columns: a row a kind of damage, a column a measure."""
    measures = list(dict.fromkeys(line.measure for line in lines))
    kinds = list(dict.fromkeys(line.kind for line in lines))
    by_cell = {(line.kind, line.measure): line for line in lines}
    rows = []
    for kind in kinds:
        cells = [by_cell[kind, measure] for measure in measures]
        rows.append([kind, str(cells[0].num_damaged), *map(_auc_text, cells)])
    return markdown_table(["damage", "rows", *measures], rows)


def _auc_text(line: Separation) -> str:
    if min(line.num_whole, line.num_damaged) < MIN_ROWS:
        return "too few"
    return f"{line.auc:.2f} [{line.auc_low:.2f}, {line.auc_high:.2f}]"


def format_best_and_worst(candidates: Sequence[ScoredCandidate], num: int = 5) -> str:
    """The `num` best and worst by golden score, then mean delta, then id; nobody is in both."""
    ranked = sorted(candidates, key=lambda c: (-c.golden_score, -c.mean_delta, c.example_id))
    best, worst = ranked[:num], ranked[max(num, len(ranked) - num) :][::-1]
    lines = []
    for title, group in (("Best", best), ("Worst", worst)):
        lines.append(f"{title} {len(group)} of {len(ranked)} by golden score [95% interval]:")
        for candidate in group:
            lines += _describe(candidate)
    return "\n".join(lines)


def _describe(candidate: ScoredCandidate) -> list[str]:
    interval = f"[{candidate.score_low:.2f}, {candidate.score_high:.2f}]"
    damage = "whole" if candidate.damage == "none" else candidate.damage
    return [
        f"  {candidate.golden_score:.2f} {interval}  {candidate.category}, {damage}",
        f"      {_excerpt(candidate.instruction)}",
        f"      -> {_excerpt(candidate.answer)}",
    ]


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT_CHARS else line[: EXCERPT_CHARS - 1] + "…"
