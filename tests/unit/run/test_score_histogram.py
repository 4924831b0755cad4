"""The scores of all rows with the cut of a selection, and ties there."""

import numpy as np
import pytest

from nuggets_ray.run.score_histogram import format_histogram, format_ties

GOLDEN = np.array([0.0, 0.3, 0.3, 0.75, 0.75, 0.75, 1.0, np.nan])
KEPT = np.array([False, False, False, False, True, True, True, False])


def bars(text: str) -> list[tuple[str, str]]:
    """(bar, count) of each line of a histogram."""
    return [(line[18:68].strip(), line[68:]) for line in text.splitlines()[1:]]


def test_the_histogram_counts_every_row_once_and_shows_the_kept_ones() -> None:
    text = format_histogram(GOLDEN, KEPT, "Golden scores")
    assert text.splitlines()[0] == "Golden scores of 7 scored rows (# kept, - left out):"
    assert [count for _, count in bars(text)] == [
        *("0 of 1", "0", "0", "0 of 2", "0", "0", "0", "2 of 3", "0", "1 of 1")
    ]
    assert bars(text)[7][0] == "#" * 32 + "-" * 16 and bars(text)[3][0] == "-" * 32
    assert text.splitlines()[-1].startswith("  0.90 to 1.00    ####")


def test_one_row_of_many_is_seen() -> None:
    measure_N = np.array([0.5] * 1000 + [0.9])
    text = format_histogram(measure_N, measure_N > 0.6, "x")
    assert bars(text)[9] == ("#", "1 of 1") and bars(text)[5] == ("-" * 48, "0 of 1,000")


def test_lengths_have_bins_of_their_own_range() -> None:
    measure_N = np.array([10.0, 2010.0, 2010.0])
    text = format_histogram(measure_N, np.array([False, True, True]), "Answer tokens")
    assert text.splitlines()[1].startswith("  10 to 210") and bars(text)[9][1] == "2 of 2"
    alike = format_histogram(np.array([7.0, 7.0]), np.array([True, False]), "Answer tokens")
    assert bars(alike)[0][1] == "1 of 2"


@pytest.mark.parametrize(
    ("cutoff", "kept", "words"),
    [
        (0.75, KEPT, "amid a tie: 3 rows are there, and 2 of them are kept"),
        (0.3, GOLDEN >= 0.3, "all 2 rows there are kept"),
        (1.0, GOLDEN >= 1.0, "at 1, where no other row is"),
    ],
)
def test_ties_at_the_cut(cutoff: float, kept: np.ndarray, words: str) -> None:
    assert words in format_ties(GOLDEN, kept, cutoff)


def test_values_below_zero_and_about_one_have_bins_of_their_own_range() -> None:
    text = format_histogram(np.array([-1.0, 0.0, 0.5]), np.array([False, False, True]), "x")
    assert text.splitlines()[1].startswith("  -1.00 to -0.85")
    assert [count for _, count in bars(text)].count("0") == 7
    ratios = format_histogram(np.array([0.9, 1.1]), np.array([False, True]), "x")
    assert ratios.splitlines()[1].startswith("  0.90 to 0.92")
