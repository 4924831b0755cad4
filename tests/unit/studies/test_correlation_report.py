"""correlation in words: what is shown, what is not, what is missing."""

from dataclasses import replace

import pytest

from nuggets_ray.config.study import StudyConfig
from nuggets_ray.errors import UserError
from nuggets_ray.studies.arms import GROUP, RANDOM
from nuggets_ray.studies.correlation import ArmResult
from nuggets_ray.studies.correlation_report import correlation_report
from nuggets_ray.studies.page import Report, page_text

CONFIG = StudyConfig(name="correlation")


def results_of(slope: float, random_gain: float = 0.0) -> list[ArmResult]:
    results = []
    for seed in range(3):
        wobble = 0.001 * (seed - 1)
        for group in range(1, 6):
            gain = slope * group + wobble
            tokens = 100 * group
            results.append(
                ArmResult(f"group-{group}", GROUP, seed, 20, tokens, group / 10, gain, "rows")
            )
        for name in ("random", "random-tokens"):
            results.append(
                ArmResult(name, RANDOM, seed, 20, 300, 0.3, random_gain + 2 * wobble, "rows")
            )
    return results


def report_of(results: list[ArmResult], left_out: tuple[str, ...] = ()) -> Report:
    return correlation_report(results, left_out, ["rds"], CONFIG, {"seed": "0"})


def test_a_relation_and_a_lead_over_random_are_said() -> None:
    meaning = report_of(results_of(0.02)).meaning
    assert len(meaning) == 3
    assert "Over 5 groups of rising golden_score the gain rises with it: r = 1.00" in meaning[0]
    assert "exact p = 0.017" in meaning[0]
    assert "is better than random rows of as many rows" in meaning[1]
    assert "is better than random rows of as many answer tokens" in meaning[1]
    assert "100 to 500 answer tokens" in meaning[2] and "cannot tell the two apart" in meaning[2]


def test_what_is_not_better_than_random_is_said_in_those_words() -> None:
    meaning = report_of(results_of(0.0001, random_gain=0.0005)).meaning
    assert "is not shown to be better than random rows" in meaning[1]
    assert "is worse than random rows" in report_of(results_of(0.0, 0.1)).meaning[1]
    assert (
        "No relation of golden_score and the gain is shown" in report_of(results_of(0.0)).meaning[0]
    )


def test_a_study_that_is_not_whole_says_what_is_missing() -> None:
    results = [one for one in results_of(0.02) if one.name in ("group-1", "random")]
    report = report_of(results, ("study-group-2-0",))
    assert report.meaning[0].startswith("1 of 5 groups are trained so far")
    text = page_text(report)
    assert "not trained yet: study-group-2-0" in text
    assert "the run does not have the signal: rds" in text
    assert {row["part"] for row in report.numbers} == {"training", "arm"}


def test_the_page_holds_the_arms_and_the_pictures() -> None:
    report = report_of(results_of(0.02))
    assert "| group-5" in page_text(report) and "exact p" in page_text(report)
    assert [picture.name for picture in report.pictures] == ["groups", "arms"]
    assert {row["part"] for row in report.numbers} == {"training", "arm", "correlation"}


def test_trainings_of_unlike_held_out_rows_are_not_compared() -> None:
    results = results_of(0.02)
    results[3] = replace(results[3], held_out="others")
    with pytest.raises(UserError, match="group-4 of seed 0 was evaluated on other held-out rows"):
        report_of(results)
    with pytest.raises(UserError, match="no arm has been trained yet"):
        report_of([])
