"""The coverage that the README tells is what the simulation gives, and is enough."""

import math
from collections.abc import Callable

import pytest

from nuggets_ray.evaluate.simulations.coverage import CASES, coverage, table

NUM_EXPERIMENTS = 200


@pytest.mark.long
def test_the_readme_s_table_is_that_of_the_simulation(
    readme_table: Callable[[str], list[list[str]]],
) -> None:
    told = readme_table("interval of")
    assert [row[:3] for row in told] == [[c.interval, c.of, str(c.num_rows)] for c in CASES]
    for case, row in zip(CASES, told, strict=True):
        share, number = coverage(case, NUM_EXPERIMENTS)
        expected = float(row[3])
        # the share of so few experiments is off by this much once in some thousand cases
        noise = 3.5 * math.sqrt(max(expected * (1 - expected), 0.01) / number)
        assert share == pytest.approx(expected, abs=noise), case.of


def test_the_readme_s_coverage_is_enough_at_30_rows(
    readme_table: Callable[[str], list[list[str]]],
) -> None:
    at_30 = {(row[0], row[1]): float(row[3]) for row in readme_table("interval of")}
    means = {what: share for (kind, what), share in at_30.items() if kind == "a mean"}
    weighted = {what: share for (kind, what), share in at_30.items() if "by tokens" in kind}
    very_skewed = means.pop("log-normal values")
    assert len(means) == 4 and min(means.values()) >= 0.93 and very_skewed >= 0.91
    assert len(weighted) == 2 and min(weighted.values()) >= 0.91


def test_a_table_has_a_row_a_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nuggets_ray.evaluate.simulations.coverage.CASES", CASES[:1])
    lines = table(20).splitlines()
    assert len(lines) == 3 and lines[2].count("|") == 6
