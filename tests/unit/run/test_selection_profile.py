"""A selection beside all scored rows, in numbers."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from shown_run import readable_run

from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.curate.quotas import Sources
from nuggets_ray.run.joined import read_scored
from nuggets_ray.run.selection_profile import SharedRows, make_profile, profile_of
from nuggets_ray.select import Scores, select

TOP_2 = SelectConfig("top_k", k=2)


def make_scores(golden_N: np.ndarray) -> Scores:
    number_N = np.arange(len(golden_N))
    ids = np.array([f"c{number:03d}" for number in number_N])
    return Scores(ids, ids, golden_N, golden_N / 10, 10 + number_N)


def test_the_kept_rows_beside_all() -> None:
    scores = make_scores(np.linspace(0, 1, 10))
    contents = np.where(np.arange(10) % 2 == 1, "c000", scores.example_id)
    scores = replace(scores, content_id=contents)
    profile = make_profile(scores, np.array([9, 8]), TOP_2, 0, [], None)
    assert profile.kept.num_rows == 2 and profile.all_scored.num_rows == 10
    assert profile.kept.mean_golden_score == pytest.approx(17 / 18)
    assert profile.kept.answer_tokens["sum"] == 37 and profile.kept.answer_tokens["mean"] == 18.5
    assert profile.all_scored.answer_tokens == pytest.approx(
        {"sum": 145, "mean": 14.5, "min": 10, "p10": 10.9, "p50": 14.5, "p90": 18.1, "max": 19}
    )
    assert (profile.kept.num_exact_copies, profile.all_scored.num_exact_copies) == (1, 5)
    assert json.loads(json.dumps(asdict(profile)))["kept"]["num_rows"] == 2


def test_overlaps_are_with_as_many_golden_longest_and_random_rows() -> None:
    scores = make_scores(np.linspace(0, 1, 40))
    random = SelectConfig("top_k", k=10, by="random")
    row_K = select(scores, random, seed=3).row_K
    profile = make_profile(scores, row_K, random, 3, [], None)
    by_name = {one.name: one for one in profile.overlaps}
    assert by_name["random-0"] == SharedRows("random-0", 10, 2.5)
    num_best = int((row_K >= 30).sum())
    # the longest are the best here
    assert by_name["golden"].num_rows == by_name["longest"].num_rows == num_best


def test_rows_without_a_golden_score_have_no_mean_and_no_golden_beside_them() -> None:
    scores = make_scores(np.array([np.nan, np.nan, 0.5]))
    by_length = SelectConfig("top_k", k=2, by="longest", order="bottom")
    profile = make_profile(scores, np.array([0, 1]), by_length, 0, [], None)
    assert profile.kept.mean_golden_score is None
    assert [one.name for one in profile.overlaps] == ["longest", "random-0"]


def test_sources_are_counted_the_most_frequent_of_the_kept_first() -> None:
    sources = Sources("category", ("maths", "trivia"), np.array([0, 0, 0, 0, 1, 1, 0, -1]))
    scores = make_scores(np.linspace(0, 1, 8))
    profile = make_profile(scores, np.array([4, 5, 6, 7]), TOP_2, 0, [sources], None)
    [counts] = profile.sources
    assert list(counts.kept.items()) == [("trivia", 2), ("maths", 1)]
    assert counts.all_scored == {"trivia": 2, "maths": 5}


def test_near_duplicates_among_the_rows_of_a_run(tmp_path: object) -> None:
    pytest.importorskip("datasketch")
    out_dir = readable_run(f"{tmp_path}/run")
    scored = read_scored(out_dir)
    everything = SelectConfig("top_k", k=13, unique=False)
    selection = select(scored.scores, everything, 0)
    near = profile_of(out_dir, scored, selection, everything, 0).near_duplicates
    assert near is not None
    assert (near.num_rows, near.num_compared, near.min_similarity) == (1, 13, 0.8)
