"""A selection beside all scored rows, as text."""

import numpy as np
import pytest

from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.run.selection_profile import (
    Sources,
    format_histogram,
    format_profile,
    format_sources,
    format_ties,
)
from nuggets_ray.select import Scores

GOLDEN = np.array([0.0, 0.3, 0.3, 0.75, 0.75, 0.75, 1.0, np.nan])
KEPT = np.array([False, False, False, False, True, True, True, False])


def make_scores(golden_N: np.ndarray) -> Scores:
    number_N = np.arange(len(golden_N))
    ids = np.array([f"c{number:03d}" for number in number_N])
    return Scores(ids, ids, golden_N, golden_N / 10, 10 + number_N)


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


def test_the_profile_holds_the_kept_rows_against_all() -> None:
    scores = make_scores(np.linspace(0, 1, 10))
    is_copy_N = np.arange(10) % 2 == 1
    row_K = np.array([9, 8])
    text = format_profile(scores, row_K, is_copy_N, SelectConfig(rule="top_k", k=2), 0)
    cells = {line.split("|")[1].strip(): line.split("|")[2:4] for line in text.splitlines()[:-1]}
    figures = {name: [cell.strip() for cell in pair] for name, pair in cells.items()}
    assert figures["rows"] == ["2", "10"]
    assert figures["mean golden score"] == ["0.944", "0.500"]
    assert figures["answer tokens, mean"] == ["18.5", "14.5"]
    assert figures["exact copies of other rows"] == ["1", "5"]
    # the longest are the best here
    assert "Of the 2 kept rows 2 (100%) are in as many of the longest and " in text
    assert text.endswith("by chance it would be 0.4 (20%).")


def test_the_overlap_with_random_is_with_the_draw_of_that_name() -> None:
    scores = make_scores(np.linspace(0, 1, 40))
    random = SelectConfig(rule="top_k", k=10, by="random")
    from nuggets_ray.select import select

    row_K = select(scores, random, seed=3).row_K
    text = format_profile(scores, row_K, np.zeros(40, bool), random, 3)
    assert "10 (100%) are in as many of random-0" in text


def test_rows_without_a_golden_score_have_no_mean() -> None:
    scores = make_scores(np.array([np.nan, 0.5]))
    is_copy_N = np.zeros(2, bool)
    by_length = SelectConfig(rule="top_k", k=1, by="longest")
    text = format_profile(scores, np.array([0]), is_copy_N, by_length, 0)
    [line] = [line for line in text.splitlines() if "mean golden" in line]
    assert [cell.strip() for cell in line.split("|")[2:4]] == ["-", "0.500"]


def test_sources_are_counted_the_most_frequent_of_the_kept_first() -> None:
    sources = Sources("category", ("maths", "trivia"), np.array([0, 0, 0, 0, 1, 1, 0, -1]))
    lines = format_sources(sources, KEPT).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["category", "kept", "all scored"]
    assert cells[2:] == [["trivia", "2 (67%)", "2 (25%)"], ["maths", "1 (33%)", "5 (62%)"]]
    many = Sources("file", tuple(f"f{n}" for n in range(12)), np.arange(8))
    assert "(4 more)" in format_sources(many, KEPT)
