"""Each failure sign is seen where it should be, and unchecked is not the same as unseen."""

import pytest
from verdict_arms import make_arms

from nuggets_ray.evaluate.verdict.evidence import gather
from nuggets_ray.evaluate.verdict.failure_signs import SIGNS, failure_signs
from nuggets_ray.evaluate.verdict.reliability import LengthEffect, SplitHalf
from nuggets_ray.evaluate.verdict.verdict import decide

ALL_ARMS = {
    "golden": 1.0,
    "random_0": 0.0,
    "random_1": 0.1,
    "random_tokens": 0.2,
    "bottom": -1.0,
}
STABLE = SplitHalf(0.9, 0.95, 100, 40, 50)
UNSTABLE = SplitHalf(0.2, 0.33, 100, 40, 50)
UNRELATED = LengthEffect(0.55, 0.4, 0.1, 20)
LONGER, SHORTER = LengthEffect(0.91, 0.001, 0.6, 20), LengthEffect(0.1, 0.001, -0.6, 20)


def signs(stability=STABLE, length=UNRELATED, **means: float) -> dict[str, str | None]:
    arms = make_arms(**{**ALL_ARMS, **means})
    return failure_signs(gather(arms, "m", stability=stability, length=length))


def test_a_sound_experiment_shows_none_and_all_were_checked() -> None:
    assert signs() == dict.fromkeys(SIGNS)


@pytest.mark.parametrize(
    ("change", "sign", "words"),
    [
        ({"golden": 0.15}, "top_no_better_than_random", "random-tokens 0.2, golden 0.15"),
        ({"bottom": 1.5}, "bottom_no_worse_than_golden", "bottom 1.5, golden 1"),
        ({"random_tokens": 0.98}, "explained_by_tokens", "training tokens may explain it"),
        ({"stability": UNSTABLE}, "unstable_across_anchors", "reliability 0.33, below 0.7"),
        ({"length": LONGER}, "explained_by_length", "the longer ones (AUC 0.91"),
        ({"length": SHORTER}, "explained_by_length", "the shorter ones (AUC 0.10"),
    ],
)
def test_each_sign(change: dict, sign: str, words: str) -> None:
    found = signs(**change)
    seen = [name for name, sentence in found.items() if sentence]
    assert sign in seen and words in found[sign]
    if sign != "top_no_better_than_random":
        assert seen == [sign]


def test_what_was_not_looked_at_is_said_not_to_be_checked() -> None:
    verdict = decide(gather(make_arms(golden=1.0, random_0=0.0, random_1=0.1, random_2=0.2), "m"))
    assert verdict.checked_signs == ("top_no_better_than_random",)
    assert "No failure sign was seen in what was checked: golden against each draw." in (
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
