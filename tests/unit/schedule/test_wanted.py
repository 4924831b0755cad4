"""How many rows a race is for."""

from dataclasses import replace

import pytest

from nuggets_ray.config.schema import RaceConfig, ScheduleConfig, SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.schedule.wanted import check_selects, check_wanted, wanted_rows, wanted_score

FRACTION = SelectConfig(rule="top_fraction", fraction=0.05)
TOP_K = SelectConfig(rule="top_k", k=30)
THRESHOLD = SelectConfig(rule="threshold", min_score=0.8)


@pytest.mark.parametrize(
    ("race", "select", "wanted"),
    [
        (RaceConfig(), FRACTION, 50),
        (RaceConfig(), TOP_K, 30),
        (RaceConfig(top_k=7), FRACTION, 7),
        (RaceConfig(top_fraction=0.07), TOP_K, 70),
        (RaceConfig(top_fraction=0.0001), THRESHOLD, 1),
        (RaceConfig(), replace(TOP_K, diversity="k_center", pool=3), 90),
        (RaceConfig(), replace(FRACTION, fraction=0.9, per="task"), 1000),
        (RaceConfig(top_k=7), replace(TOP_K, max_similarity=0.8), 7),
    ],
)
def test_what_the_race_says_goes_before_what_select_asks(
    race: RaceConfig, select: SelectConfig, wanted: int
) -> None:
    assert wanted_rows(race, select, 1000) == wanted


@pytest.mark.parametrize(
    ("race", "select", "words"),
    [
        (RaceConfig(top_k=7, top_fraction=0.1), FRACTION, "leave one in"),
        (RaceConfig(top_fraction=0.0), FRACTION, "race.top_fraction=0"),
        (RaceConfig(top_k=7, min_score=0.8), FRACTION, "race.top_k=7 and race.min_score=0.8"),
        (RaceConfig(min_score=1.0), FRACTION, "race.min_score=1.0"),
        (RaceConfig(), SelectConfig(rule="threshold", min_score=80.0), "select.min_score=80.0"),
        (RaceConfig(), SelectConfig(rule="threshold"), "race.top_fraction=0.05"),
        (RaceConfig(), SelectConfig(rule="top_tokens", tokens=99), "select=top_tokens"),
        (
            RaceConfig(),
            SelectConfig(rule="threshold", min_score=0.2, order="bottom"),
            "select.order=bottom",
        ),
    ],
)
def test_what_cannot_be_known_is_told(race: RaceConfig, select: SelectConfig, words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_wanted(race, select)


@pytest.mark.parametrize(
    ("race", "select", "min_score"),
    [
        (RaceConfig(), THRESHOLD, 0.8),
        (RaceConfig(min_score=0.7), THRESHOLD, 0.7),
        (RaceConfig(min_score=0.7), FRACTION, 0.7),
        (RaceConfig(top_fraction=0.1), THRESHOLD, None),
        (RaceConfig(), FRACTION, None),
    ],
)
def test_a_threshold_is_of_the_score(
    race: RaceConfig, select: SelectConfig, min_score: float | None
) -> None:
    assert wanted_score(race, select) == min_score
    assert (wanted_rows(race, select, 1000) is None) == (min_score is not None)


def test_more_rows_than_there_are_are_told() -> None:
    with pytest.raises(UserError, match="race.top_k=8"):
        wanted_rows(RaceConfig(top_k=8), FRACTION, 5)


def test_a_pipeline_that_explores_selects_by_what_it_gets() -> None:
    explore = ScheduleConfig("explore")
    with pytest.raises(UserError, match=r"add select\.by=posterior_score"):
        check_selects(explore, FRACTION)
    check_selects(explore, SelectConfig(fraction=0.05, by="posterior_score"))
    check_selects(explore, SelectConfig(fraction=0.05, by="random"))
    check_selects(ScheduleConfig("race"), FRACTION)
