"""AUC against a brute-force count of pairs, its interval, and what the demo prints."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nuggets_ray.demo.separation import (
    ScoredCandidate,
    Separation,
    auc,
    format_best_and_worst,
    format_separation,
    separation,
    stand_for_all,
)

scores = st.lists(st.integers(-3, 3), min_size=1, max_size=12)


def make_demo(num_whole=40, num_damaged=15, shift=1.0, seed=0):
    """Whole rows, then copies of the first ones, of two kinds, whose scores lie `shift` lower."""
    rng = np.random.default_rng(seed)
    whole_W = rng.normal(size=num_whole)
    damaged_D = rng.normal(size=num_damaged) - shift
    kinds = ["cut" if i % 3 else "refusal" for i in range(num_damaged)]
    damage_N = np.array(["none"] * num_whole + kinds)
    source_row_N = np.concatenate([np.arange(num_whole), np.arange(num_damaged)])
    return np.concatenate([whole_W, damaged_D]), damage_N, source_row_N


@settings(deadline=None)
@given(whole=scores, damaged=scores)
def test_auc_counts_pairs(whole, damaged):
    wins = sum((w > d) + 0.5 * (w == d) for w in whole for d in damaged)
    assert auc(np.array(whole), np.array(damaged)) == pytest.approx(
        wins / (len(whole) * len(damaged))
    )


def test_perfect_reversed_and_tied_scores():
    _, damage_N, source_row_N = make_demo()
    is_whole_N = (damage_N == "none").astype(float)
    measures = {"perfect": is_whole_N, "reversed": -is_whole_N, "tied": np.zeros(len(damage_N))}
    for line in separation(measures, damage_N, source_row_N):
        expected = {"perfect": 1.0, "reversed": 0.0, "tied": 0.5}[line.measure]
        assert (line.auc, line.auc_low, line.auc_high) == (expected, expected, expected)


def test_every_kind_apart():
    score_N, damage_N, source_row_N = make_demo()
    lines = separation({"golden_score": score_N}, damage_N, source_row_N)
    assert [(line.kind, line.num_damaged) for line in lines] == [
        ("all", 15),
        ("cut", 10),
        ("refusal", 5),
    ]
    for line in lines:
        is_damaged_N = damage_N != "none" if line.kind == "all" else damage_N == line.kind
        assert line.auc == auc(score_N[damage_N == "none"], score_N[is_damaged_N])
        assert line.num_whole == 40


def test_interval_contains_the_estimate_is_seeded_and_shrinks():
    def all_line(num_whole, num_damaged, seed=0):
        score_N, damage_N, source_row_N = make_demo(num_whole, num_damaged)
        return separation({"m": score_N}, damage_N, source_row_N, seed=seed)[0]

    small, large = all_line(40, 15), all_line(400, 150)
    for line in (small, large):
        assert 0 <= line.auc_low < line.auc < line.auc_high <= 1
    assert large.auc_high - large.auc_low < small.auc_high - small.auc_low
    assert small == all_line(40, 15) and small != all_line(40, 15, seed=1)


def test_a_damaged_copy_is_drawn_together_with_its_original():
    """Score = source row, the same for both: pairing makes every resample's AUC exactly a half."""
    damage_N = np.array(["none"] * 20 + ["cut"] * 20)
    source_row_N = np.tile(np.arange(20), 2)
    (line, _) = separation({"m": source_row_N}, damage_N, source_row_N)
    assert line.auc_low == pytest.approx(0.5) and line.auc_high == pytest.approx(0.5)


def test_lower_perplexity_is_better():
    score_N, damage_N, source_row_N = make_demo()
    measures = {"mean_delta": score_N, "perplexity": np.exp(-score_N)}
    lines = separation(measures, damage_N, source_row_N)
    golden, perplexity = lines[:3], lines[3:]
    assert [line.auc for line in perplexity] == pytest.approx([line.auc for line in golden])


@pytest.mark.parametrize("damage", ["none", "cut"])
def test_no_lines_without_both_sorts(damage):
    assert separation({"m": np.zeros(3)}, np.array([damage] * 3), np.arange(3)) == []


@pytest.mark.parametrize("bad", [np.full(55, np.nan), np.zeros(54)])
def test_missing_scores_are_refused(bad):
    _, damage_N, source_row_N = make_demo()
    with pytest.raises(ValueError, match="perplexity: expected 55 finite"):
        separation({"perplexity": bad}, damage_N, source_row_N)


def test_format_separation():
    lines = [
        Separation("golden_score", "all", 0.75, 0.7, 0.8, 9, 12),
        Separation("golden_score", "cut", 0.5, 0.25, 1.0, 9, 4),
        Separation("perplexity", "all", 0.9, 0.85, 0.95, 9, 12),
        Separation("perplexity", "cut", 1.0, 1.0, 1.0, 9, 4),
    ]
    assert format_separation(lines).splitlines() == [
        "| damage | rows | golden_score      | perplexity        |",
        "| ------ | ---- | ----------------- | ----------------- |",
        "| all    | 12   | 0.75 [0.70, 0.80] | 0.90 [0.85, 0.95] |",
        "| cut    | 4    | 0.50 [0.25, 1.00] | 1.00 [1.00, 1.00] |",
    ]


def make_candidate(example_id, golden_score, mean_delta=0.0, **changes):
    fields = {"category": "facts", "damage": "none", "instruction": "q", "answer": "a"} | changes
    return ScoredCandidate(example_id, golden_score, 0.1, 0.9, mean_delta, **fields)


def test_best_and_worst_break_ties_and_never_overlap():
    candidates = [
        make_candidate("b", 0.5, instruction="third"),
        make_candidate("a", 0.5, instruction="second"),
        make_candidate("c", 0.5, 0.2, instruction="first"),
        make_candidate("d", 0.1, damage="cut", instruction="last"),
    ]
    text = format_best_and_worst(candidates, num=3)
    assert [line.strip() for line in text.splitlines() if line.startswith("      ")][::2] == [
        "first",
        "second",
        "third",
        "last",
    ]
    assert "Best 3 of 4" in text and "Worst 1 of 4" in text
    assert "0.10 [0.10, 0.90]  facts, cut" in text and "facts, whole" in text


def test_best_and_worst_show_one_short_line_of_each_text():
    candidate = make_candidate("a", 1.0, instruction="two\nlines", answer="x" * 71)
    lines = format_best_and_worst([candidate]).splitlines()
    assert "      two lines" in lines
    assert "      -> " + "x" * 69 + "…" in lines


def test_an_auc_of_one_or_two_rows_is_none():
    score_N, damage_N, source_row_N = make_demo(num_damaged=8)
    lines = separation({"golden score": score_N}, damage_N, source_row_N)
    kinds = {line.kind: line.num_damaged for line in lines}
    assert kinds["refusal"] == 3
    few = [line for line in lines if line.kind != "cut"]
    text = format_separation([*few, Separation("golden score", "cut", 1.0, 1.0, 1.0, 40, 2)])
    [cut] = [row for row in text.splitlines() if "| cut" in row]
    assert "too few" in cut and "1.00" not in cut
    assert text.count("too few") == 1
    assert "too few" in format_separation([Separation("golden score", "all", 0.5, 0, 1, 2, 9)])


def test_of_a_race_only_rows_that_it_drew_at_random_are_compared():
    complete = [{"content_id": name, "golden_score": 0.5} for name in "ab"]
    left = {"content_id": "c", "golden_score": None}
    assert stand_for_all(complete, set()) == complete
    assert stand_for_all([*complete, left], {"b", "c"}) == complete[1:]
