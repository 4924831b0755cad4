"""The numbers behind a verdict: by hand, on arms of known quality, and under the null."""

import math

import numpy as np
import pytest
from verdict_arms import make_arms

from nuggets_ray.evaluate import stats
from nuggets_ray.evaluate.verdict.evidence import (
    GOLDEN,
    OTHER,
    RANDOM,
    ROW_DRAWS,
    TOKEN_DRAWS,
    Arm,
    Difference,
    gather,
)
from nuggets_ray.evaluate.verdict.verdict import decide

DRAW_MEANS = {"random_0": 0.0, "random_1": 0.1, "random_2": 0.2}


def test_draws_by_hand() -> None:
    evidence = gather(make_arms(golden=1.0, **DRAW_MEANS), "m")
    (draws,) = evidence.draws
    assert (draws.kind, draws.arms) == (ROW_DRAWS, ("random-0", "random-1", "random-2"))
    assert draws.mean == pytest.approx(0.1)
    assert (evidence.training_sd, evidence.degrees_of_freedom) == (pytest.approx(0.1), 2)
    half = 4.302653 * 0.1 * math.sqrt(4 / 3)
    assert (draws.low, draws.high) == pytest.approx((0.1 - half, 0.1 + half), abs=1e-6)
    (against,) = evidence.differences
    assert (against.against, against.value) == (ROW_DRAWS, pytest.approx(0.9))
    assert against.p_holm == against.p_value == 1e-4
    assert (evidence.side_of(draws), against.direction) == (1, 1)


def test_the_step_between_the_kinds_of_draws_is_no_spread() -> None:
    """Draws matched in tokens lie 5 higher, each kind differs by 0.1: by hand."""
    means = {"random_0": 0.0, "random_1": 0.2, "random_2_tokens": 5.0, "random_3_tokens": 5.2}
    evidence = gather(make_arms(golden=7.0, **means), "m")
    assert [draws.kind for draws in evidence.draws] == [ROW_DRAWS, TOKEN_DRAWS]
    assert [draws.mean for draws in evidence.draws] == pytest.approx([0.1, 5.1])
    # (0.1^2 + 0.1^2) of each kind, over 1 + 1 degrees of freedom
    assert evidence.training_sd == pytest.approx(math.sqrt(0.04 / 2))
    assert evidence.degrees_of_freedom == 2
    half = 4.302653 * math.sqrt(0.02) * math.sqrt(3 / 2)
    for draws in evidence.draws:
        assert (draws.low, draws.high) == pytest.approx((draws.mean - half, draws.mean + half))
        assert evidence.side_of(draws) == 1
    assert decide(evidence).outcome == "better"


def test_one_draw_of_a_kind_stands_in_the_way_but_carries_nothing() -> None:
    rows = {"random_0": 0.0, "random_1": 0.1, "random_2": 0.2}
    for token, outcome in ((0.1, "better"), (2.0, "not told apart")):
        evidence = gather(make_arms(golden=2.0, **rows, random_tokens=token), "m")
        assert evidence.training_sd == pytest.approx(0.1), "one draw shows no spread"
        verdict = decide(evidence)
        assert verdict.outcome == outcome
        assert ("rests on one training, random-tokens" in verdict.paragraph) == (token == 0.1)
    alone = decide(gather(make_arms(golden=2.0, random_0=0.0, random_tokens=0.1), "m"))
    assert alone.outcome == "not told apart" and alone.numbers["training_sd"] is None


def test_p_values_are_corrected_for_every_comparison_made() -> None:
    arms = make_arms(golden=0.1, longest=0.0, bottom=0.05, base=0.11, random_tokens=0.0, random_1=0)
    evidence = gather(arms, "m")
    names = [one.against for one in evidence.differences]
    assert names == [ROW_DRAWS, TOKEN_DRAWS, "longest", "bottom", "base"]
    expected = stats.holm({one.against: one.p_value for one in evidence.differences})
    assert {one.against: one.p_holm for one in evidence.differences} == expected
    assert any(one.p_holm > one.p_value for one in evidence.differences)
    assert evidence.bottom == "bottom"
    assert evidence.of_kind(TOKEN_DRAWS).arms == ("random-tokens",)


def test_weights_count_rows_as_tokens() -> None:
    arms = [Arm("golden", GOLDEN, np.array([1.0, 0.0])), Arm("base", OTHER, np.zeros(2))]
    evidence = gather(arms, "m", weight_N=np.array([1.0, 3.0]))
    assert evidence.values == {"golden": 0.25, "base": 0.0}
    assert evidence.differences[0].value == 0.25


def test_all_arms_are_compared_on_the_same_rows() -> None:
    value_N = np.arange(4.0)
    arms = [
        Arm("golden", GOLDEN, value_N),
        Arm("random-0", RANDOM, np.array([0.0, math.nan, 2.0, 3.0])),
        Arm("base", OTHER, np.array([0.0, 1.0, math.inf, 3.0])),
        Arm("full", OTHER, np.full(4, math.nan)),
    ]
    evidence = gather(arms, "m")
    assert evidence.values == {"golden": 1.5, "random-0": 1.5, "base": 1.5}
    assert (evidence.num_rows, evidence.num_rows_left_out) == (2, 2)
    assert evidence.arms_without_values == ("full",)


def test_what_is_no_experiment_is_refused() -> None:
    golden, other = make_arms(golden=0.0, base=0.0)
    with pytest.raises(ValueError, match="one golden"):
        gather([other], "m")
    with pytest.raises(ValueError, match="one golden"):
        gather([golden, golden], "m")
    with pytest.raises(ValueError, match="numbers of rows"):
        gather([golden, Arm("base", OTHER, np.zeros(3))], "m")
    with pytest.raises(ValueError, match="no kind"):
        gather([golden, Arm("base", "basis", other.value_N)], "m")


def test_an_interval_that_holds_zero_tells_nothing_apart() -> None:
    (against,) = gather(make_arms(golden=0.0, base=0.0), "m").differences
    assert against.low is not None and against.high is not None
    assert against.low < 0 < against.high
    assert against.direction == 0
    assert Difference("base", 0.1, -0.01, 0.21, 0.01, 0.01).direction == 0, "p alone is not enough"
    assert Difference("base", -0.1, -0.2, -0.01, 0.01, 0.01).direction == -1


def test_rows_all_alike_are_told_apart_by_their_number_alone() -> None:
    """Golden wins every row by the same: no interval, but 20 rows do not do that by chance."""
    for num_rows, direction in ((20, 1), (3, 0), (1, 0)):
        arms = [Arm("golden", GOLDEN, np.ones(num_rows)), Arm("base", OTHER, np.zeros(num_rows))]
        (against,) = gather(arms, "m").differences
        assert (against.low, against.high, against.direction) == (None, None, direction)


def test_one_draw_of_many_is_seldom_called_better_or_worse() -> None:
    """Golden is one more draw here: each arm has an offset of its own, each row its noise."""
    rng = np.random.default_rng(0)
    outcomes = []
    for _ in range(150):
        means = rng.normal(0, 0.2, 4)
        names = ("golden", "random_0", "random_1", "random_2")
        arms = [
            Arm(arm.name, arm.kind, arm.value_N + rng.normal(0, 0.3, 40))
            for arm in make_arms(
                40, int(rng.integers(1000)), **dict(zip(names, means, strict=True))
            )
        ]
        outcomes.append(decide(gather(arms, "m")).outcome)
    assert np.mean([outcome != "not told apart" for outcome in outcomes]) <= 0.1
