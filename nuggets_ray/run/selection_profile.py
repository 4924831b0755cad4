"""What a selection looks like beside all scored rows, as text: the scores with the cut, ties at the
cut, lengths, where the rows are from, copies, and what it shares with random and longest.

Legend: N scored rows, K kept rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.markdown import markdown_table
from nuggets_ray.select import Scores, select
from nuggets_ray.units import num_text

NUM_BINS = 10
BAR_CHARS = 48
NUM_SOURCES = 8


@dataclass(frozen=True, slots=True)
class Sources:
    """Where rows are from: `name` of a field (or "file"), its `values`, and for each row the index
    of its value, -1 for none: (N,).
    """

    name: str
    values: tuple[str, ...]
    value_N: np.ndarray


def format_histogram(measure_N: np.ndarray, is_kept_N: np.ndarray, title: str) -> str:
    """Bars of all rows by their measure, the kept ones as #, the others as -; NaN is left out."""
    is_number_N = ~np.isnan(measure_N)
    measure, is_kept = measure_N[is_number_N], is_kept_N[is_number_N]
    low, high = (0.0, 1.0) if measure.max() <= 1 else (float(measure.min()), float(measure.max()))
    # rounded, as 0.3 * 10 is just below 3 in floats
    place = np.round((measure - low) / max(high - low, 1e-9) * NUM_BINS, 6).astype(int)
    bin_N = np.minimum(place, NUM_BINS - 1)
    all_B = np.bincount(bin_N, minlength=NUM_BINS)
    kept_B = np.bincount(bin_N[is_kept], minlength=NUM_BINS)
    edges = np.linspace(low, high, NUM_BINS + 1)
    digits = 2 if high <= 1 else 0
    lines = [f"{title} of {len(measure):,} scored rows (# kept, - left out):"]
    for num_all, num_kept, start, end in zip(all_B, kept_B, edges, edges[1:], strict=False):
        bar = _bar("#", num_kept, all_B.max()) + _bar("-", num_all - num_kept, all_B.max())
        numbers = f"{num_kept:,} of {num_all:,}" if num_all else "0"
        ends = f"{start:,.{digits}f} to {end:,.{digits}f}"
        lines.append(f"  {ends:<16}{bar:<{BAR_CHARS + 2}}{numbers}")
    return "\n".join(lines)


def _bar(character: str, count: int, largest: int) -> str:
    """A row is seen, be it one of a million."""
    return character * max(round(count * BAR_CHARS / largest), int(count > 0))


def format_ties(measure_N: np.ndarray, is_kept_N: np.ndarray, cutoff: float) -> str:
    """How many rows have the very measure of the last kept one, and how many of them are kept."""
    is_at_cut_N = measure_N == cutoff
    num_tied, num_kept = int(is_at_cut_N.sum()), int((is_at_cut_N & is_kept_N).sum())
    if num_tied == 1:
        return f"The cut is at {cutoff:.4g}, where no other row is."
    if num_kept == num_tied:
        return f"The cut is at {cutoff:.4g}: all {num_tied:,} rows there are kept."
    return (
        f"The cut is at {cutoff:.4g}, amid a tie: {num_tied:,} rows are there, and {num_kept:,} of "
        "them are kept, by mean delta, then example_id."
    )


def format_profile(
    scores: Scores, row_K: np.ndarray, is_copy_N: np.ndarray, config: SelectConfig, seed: int
) -> str:
    """A table of the kept rows beside all scored ones, and a line on the rows that random and
    longest would keep too. `is_copy_N`: an exact copy of an earlier row.
    """
    everything = np.arange(len(scores.example_id))
    columns = [_figures(scores, is_copy_N, rows_) for rows_ in (row_K, everything)]
    table = markdown_table(
        ["", "kept", "all scored"],
        [[name, columns[0][name], columns[1][name]] for name in columns[0]],
    )
    return f"{table}\n{_overlaps_text(scores, row_K, config, seed)}"


def _figures(scores: Scores, is_copy_N: np.ndarray, rows: np.ndarray) -> Mapping[str, str]:
    golden = scores.golden_score[rows]
    tokens = scores.num_answer_tokens[rows]
    return {
        "rows": num_text(len(rows)),
        "mean golden score": "-" if np.isnan(golden).all() else f"{np.nanmean(golden):.3f}",
        "mean delta, nats": f"{scores.mean_delta[rows].mean():+.3f}",
        "answer tokens": num_text(int(tokens.sum())),
        "answer tokens, mean": num_text(float(tokens.mean())),
        "answer tokens, median": num_text(float(np.median(tokens))),
        "exact copies of other rows": num_text(int(is_copy_N[rows].sum())),
    }


def _overlaps_text(scores: Scores, row_K: np.ndarray, config: SelectConfig, seed: int) -> str:
    num_kept, num_scored = len(row_K), len(scores.example_id)
    as_many = replace(
        config,
        rule="top_k",
        k=num_kept,
        fraction=None,
        tokens=None,
        min_score=None,
        order="top",
        draw=0,
        name=None,
    )
    parts = []
    for by, words in (("longest", "the longest"), ("random", "random-0")):
        other = select(scores, replace(as_many, by=by), seed).row_K
        num_shared = len(np.intersect1d(row_K, other))
        parts.append(f"{num_shared:,} ({num_shared / num_kept:.0%}) are in as many of {words}")
    by_chance = num_kept / num_scored
    return (
        f"Of the {num_kept:,} kept rows {' and '.join(parts)}; by chance it would be "
        f"{num_text(num_kept * by_chance)} ({by_chance:.0%})."
    )


def format_sources(sources: Sources, is_kept_N: np.ndarray) -> str:
    """A table of where the kept rows are from, the most frequent first, beside all scored ones."""
    num_values = len(sources.values)
    is_told_N = sources.value_N >= 0
    all_V = np.bincount(sources.value_N[is_told_N], minlength=num_values)
    kept_V = np.bincount(sources.value_N[is_told_N & is_kept_N], minlength=num_values)
    order = np.lexsort((-all_V, -kept_V))[:NUM_SOURCES]
    rows = [
        [
            sources.values[value],
            f"{kept_V[value]:,} ({kept_V[value] / max(1, is_kept_N.sum()):.0%})",
            f"{all_V[value]:,} ({all_V[value] / len(is_kept_N):.0%})",
        ]
        for value in order
    ]
    if num_values > NUM_SOURCES:
        rows.append([f"({num_values - NUM_SOURCES} more)", "", ""])
    return markdown_table([sources.name, "kept", "all scored"], rows)
