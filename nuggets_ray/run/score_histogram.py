"""The scores of all rows with the cut of a selection, and ties there, as text.

Legend: N scored rows.
"""

import numpy as np

NUM_BINS = 10
BAR_CHARS = 48


def format_histogram(measure_N: np.ndarray, is_kept_N: np.ndarray, title: str) -> str:
    """Bars of all rows by their measure, the kept ones as #, the others as -; NaN is left out."""
    is_number_N = ~np.isnan(measure_N)
    measure, is_kept = measure_N[is_number_N], is_kept_N[is_number_N]
    low, high = float(measure.min()), float(measure.max())
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    # rounded, as 0.3 * 10 is just below 3 in floats
    place = np.round((measure - low) / max(high - low, 1e-9) * NUM_BINS, 6).astype(int)
    bin_N = np.minimum(place, NUM_BINS - 1)
    all_B = np.bincount(bin_N, minlength=NUM_BINS)
    kept_B = np.bincount(bin_N[is_kept], minlength=NUM_BINS)
    edges = np.linspace(low, high, NUM_BINS + 1)
    digits = 2 if high - low <= 20 else 0
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
