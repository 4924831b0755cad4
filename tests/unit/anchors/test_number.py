"""How many anchors are drawn where no number is given."""

from nuggets_ray.anchors.number import default_num
from nuggets_ray.config.schema import RaceConfig, SelectConfig

FRACTION = SelectConfig("top_fraction", fraction=0.05)


def test_a_race_of_many_candidates_draws_many_and_all_else_100() -> None:
    assert default_num("race", RaceConfig(), FRACTION, 10_000) == 1000
    assert default_num("race", RaceConfig(), FRACTION, 9_999) == 100
    assert default_num("full", RaceConfig(), FRACTION, 1_000_000) == 100


def test_an_exploration_of_many_candidates_does_too_whatever_is_wanted_of_it() -> None:
    assert default_num("explore", RaceConfig(top_fraction=0.5), FRACTION, 10_000) == 1000
    assert default_num("explore", RaceConfig(), FRACTION, 9_999) == 100


def test_a_race_that_falls_back_to_full_takes_its_number() -> None:
    assert default_num("race", RaceConfig(top_fraction=0.31), FRACTION, 20_000) == 100
    assert default_num("race", RaceConfig(top_fraction=0.30), FRACTION, 20_000) == 1000
