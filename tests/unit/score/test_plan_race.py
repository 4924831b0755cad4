"""What a plan says of a race, beside full scoring."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_candidates import make_anchor

from nuggets_ray.config.schema import RaceConfig, SelectConfig
from nuggets_ray.run.funnel import make_funnel
from nuggets_ray.score.calibrate import Measured
from nuggets_ray.score.plan import Hardware, format_facts
from nuggets_ray.score.plan_race import Pairs, race_facts, race_hint

TOKENS_N = np.full(2000, 60)
ANCHORS = [make_anchor(f"a{i}", num_tokens=40) for i in range(100)]
MEASURED = Measured(np.zeros(2), 5000.0, {"engine": "tree", "why": "it agrees"}, 0.5)
HARDWARE = Hardware(num_workers=2, device="cuda", devices_per_worker=1.0)


PAIRS = Pairs(TOKENS_N, ANCHORS, MEASURED, HARDWARE)
RACE, SELECT = RaceConfig(top_fraction=0.05), SelectConfig(fraction=0.05)


def test_race_and_full_scoring_stand_side_by_side() -> None:
    facts = race_facts(RACE, SELECT, PAIRS, 2.0, ())
    assert "the best 100 of 2,000 rows" in facts["for"]
    assert facts["num_passes"]["full"] == 200_000
    full_tokens = 2000 * (60 + 100 * 40)
    assert facts["num_tokens"]["full"] == full_tokens
    assert facts["hours"]["full"] == pytest.approx(full_tokens / 10_000 / 3600)
    assert facts["price"]["full"] == pytest.approx(facts["hours"]["full"] * 2 * 2.0)
    for key in ("num_passes", "num_tokens", "hours", "price"):
        assert 0 < facts[key]["race_low"] < facts[key]["race_high"] < facts[key]["full"]
    page = format_facts({"race": facts})
    assert "(full scoring: 200,000)" in page and "made-up worlds" in page
    assert "0.99 of what full scoring would have kept" in page and "two anchor sets" in page


def test_what_was_raced_already_is_told() -> None:
    report = {"phase": "pilot", "num_live": 96, "num_left": 0, "num_complete": 0}
    funnel = make_funnel([(0, report | {"num_passes": 9600})], {})
    facts = race_facts(RACE, SELECT, PAIRS, None, funnel)
    assert facts["num_passes_asked_already"] == 9600


def test_where_a_race_gains_nothing_that_is_said() -> None:
    few = replace(PAIRS, demonstration_tokens_N=TOKENS_N[:100])
    facts = race_facts(RACE, SELECT, few, None, ())
    assert "100 candidates are fewer than 400" in facts["nothing to gain"]
    assert race_hint(RACE, SELECT, few) is None
    assert race_hint(RaceConfig(top_fraction=0.5), SELECT, PAIRS) is None


def test_of_a_threshold_the_plan_guesses_and_says_so() -> None:
    above = RaceConfig(min_score=0.8)
    facts = race_facts(above, SELECT, PAIRS, None, ())
    assert "as if 10% were" in facts["for"]
    assert race_hint(above, SELECT, PAIRS) is None


def test_full_scoring_is_told_in_a_line_what_a_race_would_cost() -> None:
    hint = race_hint(RACE, SELECT, PAIRS)
    assert hint is not None and hint.startswith("schedule=race race.top_k=100:")
    assert "times less" in hint and "1,000 anchors" not in hint
    many = race_hint(RACE, SELECT, replace(PAIRS, demonstration_tokens_N=np.full(20_000, 60)))
    assert many is not None and "; on 1,000 anchors in " in many
    unknown = SelectConfig(rule="top_tokens", tokens=1000)
    assert race_hint(RaceConfig(), unknown, PAIRS) is None
