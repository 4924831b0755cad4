"""The verdict and what it rests on."""

from pathlib import Path

import pytest
from reported_run import VERDICT, evaluate, material, scored

from nuggets_ray.evaluate.results import Result, Results, write_results
from nuggets_ray.report.evaluation import evaluation, large_verdict


@pytest.mark.parametrize(
    "outcome, kind, words",
    [
        ("better", "better", "golden is better than random by likelihood/mean_logprob."),
        ("worse", "worse", "golden is worse than random by likelihood/mean_logprob."),
        ("not told apart", "open", "golden and random are not told apart by likelihood/"),
    ],
)
def test_the_verdict_in_few_words(outcome: str, kind: str, words: str) -> None:
    told = large_verdict(VERDICT | {"outcome": outcome})
    assert told["kind"] == kind and told["sentence"].startswith(words)


def test_signs_of_a_verdict_differ_without_colour() -> None:
    outcomes = ("better", "worse", "not told apart")
    assert len({large_verdict(VERDICT | {"outcome": one})["sign"] for one in outcomes}) == 3


def test_the_section(tmp_path: Path) -> None:
    out_dir = scored(str(tmp_path))
    evaluate(out_dir)
    section = evaluation(material(out_dir))
    values = section.values
    assert values["paragraph"] == VERDICT["paragraph"]
    assert values["signs"] == [
        ("scores are unstable", "Take more anchors (anchors.num), of the task that counts.")
    ]
    assert values["power"].startswith("Power: with 2 random draws matched in rows and 0 in tokens")
    assert values["differences"].rows[0][:2] == ["base", "+0.1"]
    assert values["whole"].rows[0][0].endswith("(primary)")
    assert section.pictures[0].name == "verdict"


def test_results_without_a_verdict_say_so(tmp_path: Path) -> None:
    out_dir = scored(str(tmp_path))
    result = Result("base", "likelihood", "perplexity", 3.0, 9, subset="category=a")
    write_results(out_dir, Results("mt_bench/grade", (result,)))
    values = evaluation(material(out_dir)).values
    assert values["verdict"] is None and values["primary"] == "mt_bench/grade"
    assert values["num_subsets"] == 1 and values["whole"].rows == []


def test_nothing_evaluated(tmp_path: Path) -> None:
    assert "jobs/evaluate.py" in evaluation(material(scored(str(tmp_path)))).absent
