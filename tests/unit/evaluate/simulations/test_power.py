"""What the README says that the verdict finds is what the simulation gives, and what was wanted."""

import math
from collections.abc import Callable

import pytest

from nuggets_ray.evaluate.simulations.power import World, outcomes_of, power_table

Tables = Callable[[str], list[list[str]]]


def cells(markdown: str) -> list[list[str]]:
    return [[c.strip() for c in line.strip("|").split("|")] for line in markdown.splitlines()[2:]]


def share(cell: str) -> float:
    return float(cell.rstrip("%")) / 100


def test_the_readme_s_table_of_power_is_that_of_the_simulation(readme_table: Tables) -> None:
    assert readme_table("random draws, in rows + in tokens") == cells(power_table())


def test_the_experiments_find_what_they_are_for(readme_table: Tables) -> None:
    """Columns: effect 0, 2, 3, 4, 5."""
    told = readme_table("random draws, in rows + in tokens")
    power = {row[0]: [share(cell) for cell in row[1:]] for row in told}
    verdict = power["5 + 5 (`experiment=verdict`)"]
    assert verdict[0] < 0.03 and verdict[2] >= 0.5
    assert all(shares[0] < 0.03 for shares in power.values())


def test_tokens_neither_pass_for_an_effect_nor_hide_one(readme_table: Tables) -> None:
    """The rule over rows with noise: a false rate under 3%, and 3 sd found half of the time."""
    told = {tuple(row[:3]): [share(c) for c in row[3:]] for row in readme_table("draws")}
    for draws in ("3 + 3", "5 + 5"):
        nothing, tokens = told[draws, "0", "0"], told[draws, "0", "5"]
        assert max(nothing[:2]) < 0.03
        # golden is one more draw matched in tokens there: 2.5%, and the noise of 200 experiments
        assert max(tokens[:2]) < 0.05
        assert tokens[2] > 0.5, "more often than not it is said that tokens may explain it"
    assert told["5 + 5", "3", "0"][0] >= 0.5
    assert told["5 + 5", "5", "5"][0] >= 0.79, "a step between the kinds hides nothing"


@pytest.mark.long
@pytest.mark.parametrize("world", [World(0.0), World(5.0, 5.0), World(0.0, 5.0)])
def test_the_readme_s_outcomes_are_those_of_the_rule(world: World, readme_table: Tables) -> None:
    key = ["5 + 5", f"{world.effect:g}", f"{world.token_effect:g}"]
    [told] = [row[3:] for row in readme_table("draws") if row[:3] == key]
    num_experiments = 60
    found = outcomes_of((5, 5), world, num_experiments)
    for cell, simulated in zip(
        told, (found.better, found.worse, found.explained_by_tokens), strict=True
    ):
        expected = share(cell)
        noise = 4 * math.sqrt(max(expected * (1 - expected), 0.01) / num_experiments)
        assert simulated == pytest.approx(expected, abs=noise)
