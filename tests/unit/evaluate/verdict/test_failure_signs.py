"""Each failure sign is seen where it should be, and unchecked is not the same as unseen."""

from dataclasses import replace

import numpy as np
import pytest
from verdict_arms import make_arms

from nuggets_ray.evaluate.verdict.evidence import BOTTOM, gather
from nuggets_ray.evaluate.verdict.failure_signs import SIGNS, Sign, failure_signs
from nuggets_ray.evaluate.verdict.reliability import LengthEffect, SplitHalf
from nuggets_ray.evaluate.verdict.verdict import decide

ALL_ARMS = {
    "golden": 1.0,
    **{"random_0": 0.0, "random_1": 0.1, "random_2": 0.2},
    **{"random_3_tokens": 0.0, "random_4_tokens": 0.1, "random_5_tokens": 0.2},
    "bottom": -1.0,
}
TOKENS_TOO = {"random_3_tokens": 0.9, "random_4_tokens": 1.0, "random_5_tokens": 1.1}
STABLE = SplitHalf(0.9, 0.95, 100, 40, 50)
UNSTABLE = SplitHalf(0.2, 0.33, 100, 40, 50)
UNRELATED = LengthEffect(0.55, 0.4, 0.1, 20)
LONGER, SHORTER = LengthEffect(0.91, 0.001, 0.6, 20), LengthEffect(0.1, 0.001, -0.6, 20)


def signs(stability=STABLE, length=UNRELATED, **means: float) -> dict[str, Sign]:
    arms = make_arms(**{**ALL_ARMS, **means})
    return failure_signs(gather(arms, "m", stability=stability, length=length))


def test_a_sound_experiment_shows_none_and_all_were_checked() -> None:
    assert {name: sign.is_seen for name, sign in signs().items()} == dict.fromkeys(SIGNS, False)


@pytest.mark.parametrize(
    ("change", "sign", "words"),
    [
        ({"golden": -1.0}, "top_no_better_than_random", "golden -1, a further draw would lie"),
        ({"bottom": 1.5}, "bottom_no_worse_than_golden", "bottom 1.5, golden 1"),
        (TOKENS_TOO, "explained_by_tokens", "training tokens may explain it"),
        ({"stability": UNSTABLE}, "unstable_across_anchors", "reliability 0.33, below 0.7"),
        ({"length": LONGER}, "explained_by_length", "the longer ones (AUC 0.91"),
        ({"length": SHORTER}, "explained_by_length", "the shorter ones (AUC 0.10"),
    ],
)
def test_each_sign(change: dict, sign: str, words: str) -> None:
    looked_for = signs(**change)
    assert [name for name, one in looked_for.items() if one.is_seen] == [sign]
    assert words in looked_for[sign].clause


def test_a_difference_that_trainings_have_by_chance_decides_nothing() -> None:
    """The draws differ by 0.1: t(4) 0.1 sqrt(2) is 0.39."""
    for bottom, is_seen in ((1.3, None), (0.7, None), (1.5, True), (0.5, False)):
        assert signs(bottom=bottom)["bottom_no_worse_than_golden"].is_seen is is_seen
    verdict = decide(gather(make_arms(**{**ALL_ARMS, "golden": 0.1, "bottom": 0.15}), "m"))
    assert not verdict.signs
    assert verdict.undecided_signs == ("top_no_better_than_random", "bottom_no_worse_than_golden")
    assert "may be chance: golden against random draws, golden against bottom." in verdict.paragraph


def test_arms_that_are_all_equal_seldom_show_the_bottom_above_golden() -> None:
    rng = np.random.default_rng(0)
    num_seen = 0
    for _ in range(100):
        means = {name: float(rng.normal(0, 0.5)) for name in ALL_ARMS}
        sign = signs(**means)["bottom_no_worse_than_golden"]
        num_seen += sign.is_seen is True
    assert num_seen <= 8


def test_what_was_not_looked_at_is_said_not_to_be_checked() -> None:
    verdict = decide(gather(make_arms(golden=1.0, random_0=0.0, random_1=0.1, random_2=0.2), "m"))
    assert verdict.checked_signs == ("top_no_better_than_random",)
    assert "No failure sign was seen in what was checked: golden against random draws." in (
        verdict.paragraph
    )
    for text in ("golden against bottom", "stability across halves", "answer length"):
        assert text in verdict.paragraph.split("Not checked: ")[1]


def test_signs_seen_stand_in_the_paragraph_and_apart() -> None:
    verdict = decide(gather(make_arms(**ALL_ARMS), "m", stability=UNSTABLE, length=LONGER))
    assert verdict.outcome == "better"
    assert set(verdict.signs) == {"unstable_across_anchors", "explained_by_length"}
    assert "Failure signs seen: scores are unstable across halves" in verdict.paragraph
    assert "Not checked" not in verdict.paragraph


def test_a_bottom_of_a_race_is_named_after_what_it_is_of() -> None:
    arms = make_arms(**{**ALL_ARMS, "bottom": 1.5})
    raced = [replace(arm, by_posterior=arm.kind == BOTTOM) for arm in arms]
    verdict = decide(gather(raced, "m"))
    assert verdict.numbers["bottom_by"] == "posterior_score"
    named = "bottom (of the lowest posterior scores)"
    assert f"the {named} is better than golden" in verdict.paragraph
    assert f"against the other models: {named} " in verdict.paragraph
    plain = decide(gather(arms, "m"))
    assert plain.numbers["bottom_by"] == "golden_score"
    assert "the bottom is better than golden" in plain.paragraph
