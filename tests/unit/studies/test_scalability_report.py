"""scalability in words."""

from dataclasses import replace

import numpy as np
import pytest

from nuggets_ray.config.study import StudyConfig
from nuggets_ray.studies.page import page_text
from nuggets_ray.studies.run_costs import RunCosts
from nuggets_ray.studies.scalability import (
    FULL,
    MEASURED,
    MODELLED,
    REHEARSED,
    CostPoint,
    Rehearsal,
    Scalability,
)
from nuggets_ray.studies.scalability_report import scalability_report

COSTS = RunCosts(
    *(np.array(["a", "b"]), np.array([40.0, 60.0]), 20.0, np.array([100.0, 150.0]), 100.0),
    *(400, 2600.0, 2, np.zeros((0, 2)), False, None, 200.0),
)
FOUND = Scalability(
    points=(
        CostPoint(FULL, 400, MEASURED, 1.2e5, 6, 1200, 0.0),
        CostPoint(FULL, 1_000_000, MODELLED, 3e8, 6, 3e6, 0.2),
        CostPoint("race, top 1%", 1_000_000, MODELLED, 1e8, 2, 1e6, 0.5),
        CostPoint("race, top 1%", 10_000, REHEARSED, 1.1e6, 2.2, 1.1e4, 0.1),
        CostPoint("longest, random", 1_000_000, MODELLED, 0, 0, 0, 0.2),
    ),
    rehearsals=(Rehearsal(0.01, 10_000, 1.1e6, 50_000, 200_000, 3e6),),
    fit_error=-0.12,
    race_error={0.01: 0.05},
)
CONFIG = StudyConfig(name="scalability", candidates=[1_000_000], price_per_hour=2.0)


def test_size_trust_and_memory_are_told() -> None:
    report = scalability_report(FOUND, COSTS, CONFIG, {})
    assert len(report.meaning) == 3
    assert "1,000,000 candidates on 2 anchors are 300 Mtokens in full" in report.meaning[0]
    assert (
        "a race for the top 1% takes 11 days 14 h, 3.0 times less (modelled)" in report.meaning[0]
    )
    assert "400 candidates" in report.meaning[1] and "within 12%" in report.meaning[1]
    assert "was not measured (jobs/plan.py" in report.meaning[2]
    assert "0.2 GiB at 1,000,000" in report.meaning[2] and "0.5 GiB in all" in report.meaning[2]


def test_the_tables_tell_measured_from_modelled_and_the_price() -> None:
    text = page_text(scalability_report(FOUND, COSTS, CONFIG, {}))
    row = next(line for line in text.splitlines() if line.startswith("| full") and "1,000," in line)
    assert "modelled" in row and "1,666.67" in row  # 3e6 s at 2 an hour
    assert "measured" in text and "rehearsed" in text
    assert "| 2.7x" in text and "| LESS" in text and "12.6" in text
    assert "Nuggets, official script as shipped | 19.7" in " ".join(text.split())
    free = replace(CONFIG, price_per_hour=None)
    assert "price" not in page_text(scalability_report(FOUND, COSTS, free, {}))


def test_a_calibrated_rate_is_called_so() -> None:
    race = replace(COSTS, num_measured=0, is_race=True, worker_gib=1.5)
    report = scalability_report(replace(FOUND, fit_error=None), race, CONFIG, {})
    assert "that of the run's calibration, as a race was run" in report.meaning[1]
    assert "a worker needs 1.5 GiB" in report.meaning[2]
    assert any("nothing of full scoring was measured" in remark for remark in report.remarks)


@pytest.mark.parametrize("name", ["time", "passes"])
def test_the_pictures_are_there(name: str) -> None:
    report = scalability_report(FOUND, COSTS, CONFIG, {})
    (picture,) = [one for one in report.pictures if one.name == name]
    assert picture.png.startswith(b"\x89PNG") and picture.text
