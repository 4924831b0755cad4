"""What a race promised, in words."""

from typing import Any

import pytest

from nuggets_ray.run.promise import (
    promise_at,
    promise_lines,
    recall_line,
    savings_line,
    selection_promise,
    times_line,
)

AGREEMENT = {
    **{"agreement": 0.45, "low": 0.3, "high": 0.6, "top_share": 0.05, "num_anchors": 100},
    **{"of_halves": 0.3, "num_best": 5, "num_rows": 96, "is_beyond": False},
}
RACE: dict[str, Any] = {
    **{"top_k": 100, "num_candidates": 2000, "num_anchors": 100, "num_complete": 250},
    **{"expected_recall": 0.99, "num_passes": 50_000, "num_passes_full": 200_000},
    **{"num_tokens": 1_000_000, "num_tokens_full": 5_000_000},
    "at": [
        {"top_k": 50, "expected_loss": 0.1, "expected_recall": 0.998, "agreement": AGREEMENT},
        {"top_k": 100, "expected_loss": 1.0, "expected_recall": 0.99, "agreement": AGREEMENT},
    ],
    "held_out": {"num_predictions": 500, "covered": 0.94, "bias_wins": 0.2, "squared_error": 1.1},
    "survivors": {"num_predictions": 80, "covered": 0.9, "bias_wins": -0.4, "squared_error": 1.3},
    "times": {"num_rounds": 8, "seconds": 80.0, "waited_s": 6.0},
}


def test_a_recall_stands_beside_the_agreement_of_two_anchor_sets() -> None:
    line = recall_line(RACE, 100)
    assert "0.99 of what full scoring on these 100 anchors would have kept" in line
    assert "two anchor sets of this size agree on only 0.45 of them (0.30 to 0.60" in line


def test_fewer_rows_than_were_settled_lose_no_more_than_the_next_larger_number() -> None:
    fewer = promise_at(RACE, 20)
    assert fewer is not None and fewer["expected_recall"] == pytest.approx(1 - 0.1 / 20)
    assert "at least" in recall_line(RACE, 20) and "at least" not in recall_line(RACE, 100)
    assert promise_at(RACE, 101) is None


def test_what_it_rests_on_what_it_saved_and_how_long_it_took_are_told() -> None:
    recall, basis, savings, times = promise_lines(RACE)
    assert recall == recall_line(RACE, 100)
    assert "94% of 500 predicted totals of held-out pilot rows" in basis and "-0.4 wins" in basis
    assert savings == savings_line(RACE) and "(4.0 times fewer)" in savings
    assert "5.0 times fewer" in savings
    assert times == "8 rounds took 1 min 20 s, 10 s each; a worker waited 6.0 s of it at barriers"


def test_where_there_was_no_race_that_is_said_or_nothing() -> None:
    assert promise_lines({}) == []
    assert promise_lines({"fell_back": "12 candidates are fewer than 400"}) == [
        "nothing to gain, so all was scored: 12 candidates are fewer than 400"
    ]
    assert selection_promise({"fell_back": "few"}, 3) is None


def test_a_full_scoring_after_a_race_promises_everything() -> None:
    line = recall_line(RACE | {"num_complete": 2000}, 100)
    assert line == "every row met all 100 anchors: nothing was left behind"


def test_a_race_of_an_older_version_says_what_it_knows() -> None:
    old = {key: value for key, value in RACE.items() if key not in ("at", "held_out", "survivors")}
    del old["times"]
    lines = promise_lines(old)
    assert len(lines) == 2 and "0.99" in lines[0] and "cannot be told" in lines[0]
    assert times_line(old) == ""


def test_an_agreement_that_is_extrapolated_or_unknown_says_so() -> None:
    beyond = {**AGREEMENT, "is_beyond": True}
    race = RACE | {"at": [{**RACE["at"][1], "agreement": beyond}]}
    assert "so few tell of the best 5%, beyond that it is extrapolated" in recall_line(race, 100)
    race = RACE | {"at": [{**RACE["at"][1], "agreement": "4 anchors are fewer than 10"}]}
    assert "cannot be told (4 anchors are fewer than 10)" in recall_line(race, 100)


def test_a_selection_is_told_what_holds_as_deep_as_it_reaches() -> None:
    promise = selection_promise(RACE, 50)
    assert promise is not None and promise["settled"] == 100
    assert promise["expected_recall"] == pytest.approx(0.998)
    assert "the best 50 are expected to hold 0.998 of" in promise["text"][0]
