"""The table of one run: what stands in it, in which order."""

from nuggets_ray.evaluate.results import Result, Results
from nuggets_ray.evaluate.tables import number_text, results_table
from nuggets_ray.markdown import markdown_table

RATE = Result("golden", "likelihood", "win_rate", 0.61234, 90, 0.5, 0.72, against="base")


def test_numbers() -> None:
    assert [number_text(value) for value in (0.61234, -1234.5, 0.0, None)] == [
        *("0.6123", "-1234", "0", "unknown")
    ]
    assert number_text(0.5, sign="+") == "+0.5"


def test_the_table_aligns_and_cells_cannot_break_it() -> None:
    assert markdown_table(["a", "b"], [["1|2\n3", "x"]]).splitlines() == [
        "| a      | b |",
        "| ------ | - |",
        "| 1\\|2 3 | x |",
    ]


def test_primary_first_then_whole_benchmarks_then_subsets() -> None:
    results = Results(
        "likelihood/win_rate",
        (
            Result("base", "likelihood", "perplexity", 9.5, 90, subset="category=b"),
            Result("base", "likelihood", "perplexity", None, 90),
            RATE,
            Result("golden", "alpaca_eval", "win_rate", 0.5, 80, judge="j", prompt_version="v1"),
        ),
    )
    lines = results_table(results).splitlines()
    assert lines[2].split() == [
        *("|", "likelihood/win_rate", "*", "|", "all", "|", "golden", "|", "base", "|"),
        *("0.6123", "|", "[0.5,", "0.72]", "|", "90", "|"),
    ]
    assert "alpaca_eval/win_rate (j, v1)" in lines[3]
    assert "unknown" in lines[4] and "[" not in lines[4]
    assert "category=b" in lines[5]
    assert lines[-1] == "* primary, named before the run: likelihood/win_rate"


def test_a_primary_metric_that_was_not_evaluated_is_missed() -> None:
    note = "The primary metric, mt_bench/score, has not been evaluated."
    assert results_table(Results("mt_bench/score", (RATE,))).endswith(note)
    assert results_table(Results("mt_bench/score")) == note


def test_what_the_primary_metric_rests_on_is_told() -> None:
    judged = Result(
        *("golden", "alpaca_eval", "win_rate", 50.0, 80),
        **{"data": {"prompts": "0123456789", "rows": "abcdefghijk"}, "seed": 3, "name": "koala"},
        **{"judge": "j", "prompt_version": "v1"},
    )
    lines = results_table(Results("alpaca_eval/win_rate").pinned([judged]).merged([judged]))
    assert "alpaca_eval/win_rate (koala, j, v1) *" in lines
    assert lines.endswith(
        "alpaca_eval/win_rate, pinned to prompts 01234567, rows abcdefgh, judge j, prompt v1, "
        "seed 3"
    )
