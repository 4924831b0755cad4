"""results.json: what later results replace, and that another primary metric is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

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


def test_prompt_sets_stand_side_by_side() -> None:
    koala, vicuna = (
        Result("golden", "alpaca_eval", "win_rate", value, 8, name=name)
        for name, value in (("koala", 40.0), ("vicuna", 60.0))
    )
    results = Results(PRIMARY).merged([koala]).merged([vicuna])
    assert results.results == (koala, vicuna)
    again = replace(koala, value=41.0)
    assert results.merged([again]).results == (vicuna, again)


def test_the_primary_metric_is_that_of_its_first_evaluation(tmp_path: Path) -> None:
    first = replace(result("base", -2.0), seed=0)
    results = Results(PRIMARY).pinned([result("base", 1.0, metric="win_rate"), first])
    results = results.merged([first])
    assert results.pins == first.pins and results.is_primary(first)
    assert results.pinned([replace(first, seed=1)]).pins == first.pins
    write_results(str(tmp_path), results)
    assert read_results(str(tmp_path)) == results
    more = [replace(first, model="golden", value=-1.0)]
    assert results.is_primary(more[0]) and results.unlike_pins(more) == []


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"data": {"held_out": "cd"}}, "rows or files"),
        ({"seed": 1}, "seed"),
        ({"judge": "other"}, "judge"),
        ({"prompt_version": "2"}, "prompt version"),
        ({"generation": {"temperature": 1.0}}, "generation settings"),
    ],
)
def test_another_evaluation_of_the_primary_metric_is_none(
    changed: dict[str, Any], word: str
) -> None:
    first = replace(result("base", -2.0), seed=0)
    results = Results(PRIMARY).pinned([first])
    other = replace(first, **changed)
    assert not results.is_primary(other)
    assert results.unlike_pins([other]) == [word]
    assert results.unlike_pins([replace(other, subset="category=code")]) == []


def test_pins_are_what_json_makes_of_them() -> None:
    written = replace(result("base", 1.0), generation={"stop": ("a",), "vllm": {}})
    read = replace(result("base", 1.0), generation={"stop": ["a"], "vllm": {}})
    assert written.pins == read.pins
