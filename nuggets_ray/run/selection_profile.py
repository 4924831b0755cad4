"""What a selection looks like beside all scored rows: lengths, where the rows are from, copies and
near-duplicates among them, and what it shares with golden, longest and random; as numbers
(selections/NAME/profile.json).

Legend: N scored rows, K kept rows, V values of a field.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.curate.near_duplicates import check_installed, num_near_duplicates
from nuggets_ray.curate.quotas import Sources
from nuggets_ray.errors import UserError
from nuggets_ray.run.joined import Scored
from nuggets_ray.run.row_hashes import read_row_hashes
from nuggets_ray.run.row_text import row_rules
from nuggets_ray.run.sources import read_sources
from nuggets_ray.select import Scores, Selection, select

logger = logging.getLogger(__name__)

SIMILARITY = 0.8
"""From which J on two rows count as nearly the same: the usual bound (Lee et al. 2022,
2107.06499)."""
MAX_COMPARED = 20_000
"""So many of the best rows are compared, in about ten seconds."""
QUANTILES = {"min": 0.0, "p10": 0.1, "p50": 0.5, "p90": 0.9, "max": 1.0}
OTHERS = {
    "golden": SelectConfig("top_k", by="golden_score"),
    "longest": SelectConfig("top_k", by="longest"),
    "random-0": SelectConfig("top_k", by="random"),
}
"""The selections that every other is held against."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Some rows in numbers. `answer_tokens`: their sum, mean and quantiles; `mean_golden_score`
    None where no row has one."""

    num_rows: int
    mean_golden_score: float | None
    mean_delta: float
    answer_tokens: Mapping[str, float]
    num_exact_copies: int


@dataclass(frozen=True, slots=True)
class SharedRows:
    """How many of the kept rows are in as many by another rule too, and would be by chance."""

    name: str
    num_rows: int
    by_chance: float


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """`num_rows` of the `num_compared` best kept rows are as like a better one as `min_similarity`
    (J of word 5-grams), or more.
    """

    num_rows: int
    num_compared: int
    min_similarity: float


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """How many of the kept rows, and of all, have each value of a field (or each file)."""

    name: str
    kept: Mapping[str, int]
    all_scored: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Profile:
    """The kept rows beside all scored ones; `near_duplicates` None where they were not counted."""

    kept: Figures
    all_scored: Figures
    overlaps: tuple[SharedRows, ...]
    near_duplicates: NearDuplicates | None
    sources: tuple[SourceCounts, ...]


def profile_of(
    out_dir: str, scored: Scored, selection: Selection, config: SelectConfig, seed: int
) -> Profile:
    """The profile of a selection of a run."""
    row_K = selection.row_K
    near = _near_duplicates(out_dir, scored.scores.example_id[row_K])
    sources = read_sources(out_dir, scored.table)
    return make_profile(scored.scores, row_K, config, seed, sources, near)


def _near_duplicates(out_dir: str, example_ids: np.ndarray) -> NearDuplicates | None:
    """The near-duplicates among the best rows, None where datasketch is missing, or the run does
    not say how its rows are read.
    """
    best = example_ids[:MAX_COMPARED]
    if row_rules(out_dir) is None:
        return None
    try:
        check_installed("selections/NAME/profile.json, for near-duplicates,")
    except UserError as error:
        logger.warning("%s", error)
        return None
    hashes = read_row_hashes(out_dir, best)
    return NearDuplicates(num_near_duplicates(hashes, SIMILARITY), len(best), SIMILARITY)


def make_profile(
    scores: Scores,
    row_K: np.ndarray,
    config: SelectConfig,
    seed: int,
    sources: Sequence[Sources],
    near_duplicates: NearDuplicates | None,
) -> Profile:
    """The profile of the kept rows."""
    is_kept_N = np.zeros(len(scores.example_id), bool)
    is_kept_N[row_K] = True
    return Profile(
        _figures(scores, row_K),
        _figures(scores, np.arange(len(scores.example_id))),
        tuple(_overlaps(scores, row_K, config, seed)),
        near_duplicates,
        tuple(_counts(one, is_kept_N) for one in sources),
    )


def _figures(scores: Scores, rows: np.ndarray) -> Figures:
    golden = scores.golden_score[rows]
    tokens = scores.num_answer_tokens[rows]
    quantiles = np.quantile(tokens, list(QUANTILES.values()))
    return Figures(
        len(rows),
        None if np.isnan(golden).all() else float(np.nanmean(golden)),
        float(scores.mean_delta[rows].mean()),
        {
            "sum": int(tokens.sum()),
            "mean": float(tokens.mean()),
            **dict(zip(QUANTILES, quantiles.tolist(), strict=True)),
        },
        int((scores.example_id[rows] != scores.content_id[rows]).sum()),
    )


def _overlaps(
    scores: Scores, row_K: np.ndarray, config: SelectConfig, seed: int
) -> Sequence[SharedRows]:
    """What the rows share with as many golden, longest and random ones, where there are as many."""
    by_chance = len(row_K) ** 2 / len(scores.example_id)
    overlaps = []
    for name, other in OTHERS.items():
        as_many = replace(other, k=len(row_K), unique=config.unique)
        try:
            rows = select(scores, as_many, seed).row_K
        except UserError:  # fewer are scored on every anchor
            continue
        overlaps.append(SharedRows(name, len(np.intersect1d(row_K, rows)), by_chance))
    return overlaps


def _counts(sources: Sources, is_kept_N: np.ndarray) -> SourceCounts:
    num_values = len(sources.values)
    is_told_N = sources.value_N >= 0
    all_V = np.bincount(sources.value_N[is_told_N], minlength=num_values)
    kept_V = np.bincount(sources.value_N[is_told_N & is_kept_N], minlength=num_values)
    order = np.lexsort((-all_V, -kept_V))
    kept, everything = (
        {sources.values[value]: int(count_V[value]) for value in order}
        for count_V in (kept_V, all_V)
    )
    return SourceCounts(sources.name, kept, everything)
