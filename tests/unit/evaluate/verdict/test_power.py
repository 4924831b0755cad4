"""What the verdict's rule can find: against the rule itself, on experiments of known effect."""

import numpy as np
import pytest

from nuggets_ray.evaluate.verdict.evidence import GOLDEN, RANDOM, Arm, gather
from nuggets_ray.evaluate.verdict.power import detectable_effect, found_share, power_text
from nuggets_ray.evaluate.verdict.verdict import decide


def test_one_more_draw_is_seldom_called_better() -> None:
    for num_draws in ((3,), (3, 3), (5, 5)):
        assert 0.005 < found_share(num_draws, 0.0) < 0.03


def test_five_draws_of_each_kind_find_three_standard_deviations_more_often_than_not() -> None:
    assert found_share((5, 5), 3.0) > 0.55 > found_share((3, 3), 3.0) > 0.4
    assert found_share((5, 5), 3.0) == found_share([5, 5, 0], 3.0), "a kind without draws is none"


def test_the_detectable_effect_is_found_that_often() -> None:
    for power in (0.5, 0.9):
        effect = detectable_effect((5, 5), power)
        assert effect is not None
        assert found_share((5, 5), effect) == pytest.approx(power, abs=1e-3)


@pytest.mark.parametrize("num_draws", [(), (1,), (2,), (1, 1), (2, 1)])
def test_too_few_draws_find_nothing(num_draws: tuple[int, ...]) -> None:
    assert detectable_effect(num_draws) is None and found_share(num_draws, 100.0) == 0.0


def test_the_share_is_that_of_the_rule_itself() -> None:
    """Trainings differ by 1, rows hardly: 200 experiments with an effect of 4."""
    rng = np.random.default_rng(0)
    num_better = 0
    for _ in range(200):
        trained = rng.normal(size=7) + np.array([4.0, 0, 0, 0, 0, 0, 0])
        value_N = trained[:, None] + rng.normal(0, 0.01, (7, 20))
        arms = [Arm("golden", GOLDEN, value_N[0])]
        arms += [Arm(f"random-{k}", RANDOM, value_N[k], k > 3) for k in range(1, 7)]
        num_better += decide(gather(arms, "m")).outcome == "better"
    share = found_share((3, 3), 4.0)
    assert num_better / 200 == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 200))


def test_what_a_verdict_can_tell_is_one_sentence() -> None:
    enough = power_text(5, 5)
    assert enough.startswith("with 5 random draws matched in rows and 5 in tokens, ")
    assert "2.7 standard deviations of a training are found better half of the time" in enough
    too_few = power_text(1, 0)
    assert too_few.startswith("with 1 random draw matched in rows and 0 in tokens no verdict")
