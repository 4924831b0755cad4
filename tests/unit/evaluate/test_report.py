"""What an evaluation prints and writes for people."""

from pathlib import Path
from typing import Any

import pytest

from nuggets_ray.config.evaluate import EvaluateConfig
from nuggets_ray.config.schema import Config
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.report import Outcome, format_page, format_report, keep_broader
from nuggets_ray.evaluate.results import Result, Results, write_results

PRIMARY = "likelihood/mean_logprob"


def verdict(*models: str) -> dict[str, Any]:
    values = dict.fromkeys(models, 0.0)
    paragraph = f"Of {len(models)}."
    return {"outcome": "better", "paragraph": paragraph, "numbers": {"values": values}}


RESULTS = Results(
    PRIMARY,
    (
        Result("golden", "likelihood", "mean_logprob", -1.5, 9),
        Result("golden", "mt_bench", "grade", 7.25, 4),
    ),
    verdict("golden", "base"),
)


def report(config: Config, outcome: Outcome) -> str:
    return format_report(config.evaluate, config.out_dir, outcome, RESULTS)


def test_the_report_shows_what_the_method_shows_its_table_and_the_verdict() -> None:
    text = report(Config("run"), Outcome([], [], "9 held-out rows"))
    assert text.startswith("9 held-out rows\n\n| metric")
    assert "-1.5" in text and "7.25" not in text, "of this method alone"
    assert text.endswith(f"\n\nVerdict ({PRIMARY}): Of 2.")
    assert report(Config("run"), Outcome([], [])) == text.removeprefix("9 held-out rows\n\n")


def test_other_runs_stand_beside(tmp_path: Path) -> None:
    other = str(tmp_path / "other")
    write_results(
        other, Results(PRIMARY, (Result("golden", "likelihood", "mean_logprob", -2.5, 9),))
    )
    config = Config(str(tmp_path / "run"), evaluate=EvaluateConfig(compare=[other]))
    assert "-2.5" in report(config, Outcome([], []))
    missing = Config("run", evaluate=EvaluateConfig(compare=[str(tmp_path / "none")]))
    with pytest.raises(UserError, match="is not there"):
        report(missing, Outcome([], []))


def test_the_page_holds_every_number() -> None:
    page = format_page(RESULTS)
    assert page.startswith("# Results\n\n") and page.endswith("Of 2.\n")
    assert "-1.5" in page and "7.25" in page
    assert "Verdict" not in format_page(Results(PRIMARY, RESULTS.results))


def test_a_verdict_on_fewer_of_the_same_models_does_not_replace_one_on_more() -> None:
    two, three, others = verdict("g", "r"), verdict("g", "r", "b"), verdict("g", "x", "y")
    assert keep_broader(None, two) is two and keep_broader(two, None) is two
    assert keep_broader(None, None) is None
    assert keep_broader(two, three) is three
    assert keep_broader(three, two) is three
    assert keep_broader(others, three) is others
    again = verdict("g", "r", "b")
    assert keep_broader(again, three) is again
