"""bench=race counts as full scoring would."""

import numpy as np
import pytest

from nuggets_ray.bench import race
from nuggets_ray.bench.race import RaceOutcome, outcome, summarise
from nuggets_ray.bench.worlds import WORLDS
from nuggets_ray.config.bench import BenchConfig
from nuggets_ray.config.schema import Config
from nuggets_ray.errors import UserError
from nuggets_ray.schedule.rehearse import race_world


def test_a_race_is_held_against_full_scoring() -> None:
    world = WORLDS["factor"](900, 100, 0)
    result = outcome(world, 45)
    assert result.passes == pytest.approx(900 * 100 / world.passes)
    assert 1 < result.passes < 20
    assert result.fair >= result.exact > 0.8
    assert result.rounds == world.rounds <= 8


def test_the_chosen_are_in_rank_order() -> None:
    world = WORLDS["factor"](600, 80, 1)
    chosen = race_world(world, 20)["chosen"]
    wins_N = np.count_nonzero(world.delta > 0, axis=1)
    assert (np.diff(wins_N[chosen]) <= 0).all() and len(set(chosen)) == 20


def test_savings_are_harmonic_means() -> None:
    one, other = RaceOutcome(2, 4, 7, 1, 1, 0.99), RaceOutcome(6, 4, 8, 0.9, 1, 0.97)
    figures = summarise([one, other])
    assert figures["passes"] == 3
    assert (figures["rounds"], figures["worst"], figures["exact"]) == (8, 0.9, 0.95)


def test_a_case_that_is_not_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="factor-100-1%"):
        race.bench(Config(bench=BenchConfig(name="race", cases=["facter"])))


def test_the_table_has_a_line_a_case(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(race, "NUM_CANDIDATES", 600)
    bench = BenchConfig(name="race", cases=["factor-100-5%"], repeats=2)
    assert race.bench(Config(bench=bench))["num_rows"] == len(race.METRICS)
    assert "factor-100-5%" in capsys.readouterr().out
