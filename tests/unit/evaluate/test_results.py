"""results.json: what later results replace, and that another primary metric is refused."""

from pathlib import Path

import pytest

from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.results import Result, Results, open_results, read_results, write_results

PRIMARY = "likelihood/mean_logprob"


def result(model: str, value: float, subset: str = "all", metric: str = "mean_logprob") -> Result:
    return Result(model, "likelihood", metric, value, 8, subset=subset, data={"held_out": "ab"})


def test_later_results_replace_those_of_the_same_metric_with_their_subsets() -> None:
    before = (
        result("base", -2.0), result("base", -1.0, "answer_tokens=1-9"), result("golden", -1.9),
        result("base", 0.5, metric="win_rate"),
    )  # fmt: skip
    merged = Results(PRIMARY, before).merged([result("base", -3.0)])
    assert merged.results == (before[2], before[3], result("base", -3.0))


def test_what_is_written_is_read_and_marks_the_primary_metric(tmp_path: Path) -> None:
    whole, part = result("base", -2.0), result("base", -1.0, "category=code")
    other = result("base", 0.5, metric="win_rate")
    results = Results(PRIMARY, (whole, part, other), {"outcome": "not told apart"})
    write_results(str(tmp_path), results)
    assert read_results(str(tmp_path)) == results
    assert [results.is_primary(r) for r in (whole, part, other)] == [True, False, False]


def test_another_primary_metric_after_the_fact_is_refused(tmp_path: Path) -> None:
    assert open_results(str(tmp_path), PRIMARY) == Results(PRIMARY)
    write_results(str(tmp_path), Results(PRIMARY))
    with pytest.raises(UserError, match="evaluate.primary=alpaca_eval/win_rate: likelihood/mean"):
        open_results(str(tmp_path), "alpaca_eval/win_rate")


def test_a_folder_without_results_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="jobs/evaluate.py"):
        read_results(str(tmp_path))
