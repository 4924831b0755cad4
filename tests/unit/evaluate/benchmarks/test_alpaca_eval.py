"""AlpacaEval's files, the pairing of answers, and win rates of verdicts that are known."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.benchmarks.alpaca_eval import (
    annotation_rows,
    make_pairs,
    output_rows,
    read_reference,
    win_rate_results,
)
from nuggets_ray.evaluate.judge.judge import AnswerPair, PairVerdict
from nuggets_ray.evaluate.judge.prompts import PROMPT_VERSION
from nuggets_ray.evaluate.prompt_file import BenchmarkPrompt, read_alpaca_prompts
from nuggets_ray.evaluate.results import Result
from nuggets_ray.evaluate.tables import interval_text

PROMPTS = [BenchmarkPrompt("0", ("Q1?",), "koala"), BenchmarkPrompt("1", ("Q2?",), "vicuna")]


def reference_rows(**changed: Any) -> list[dict[str, Any]]:
    rows = output_rows(PROMPTS, ["r1", "r2"], "gpt4")
    return [rows[0], {**rows[1], **changed}]


def write(path: Path, rows: object) -> str:
    path.write_text(json.dumps(rows), "utf-8")
    return str(path)


def verdict(
    first: float | None,
    second: float | None,
    category: str = "koala",
    answer: str = "a",
    reference: str = "r",
) -> PairVerdict:
    prompt = BenchmarkPrompt("0", ("Q?",), category)
    return PairVerdict(AnswerPair(prompt, answer, reference, "golden", "gpt4"), first, second)


def results_of(verdicts: list[PairVerdict]) -> dict[tuple[str, str], Result]:
    found = win_rate_results("golden", "gpt4", verdicts, "judge", 0, num_known=2)
    for result in found:
        assert (result.model, result.benchmark, result.against) == ("golden", "alpaca_eval", "gpt4")
        assert (result.judge, result.prompt_version) == ("judge", PROMPT_VERSION)
    return {(result.metric, result.subset): result for result in found}


def test_output_rows_have_the_reference_files_fields_in_their_order(test_data: Path) -> None:
    path = test_data / "evaluation" / "alpaca_eval_805_outputs_text_davinci_003.json"
    published = json.loads(path.read_text("utf-8"))
    prompts = read_alpaca_prompts(str(path), None)
    rows = output_rows(prompts, [row["output"] for row in published], "text_davinci_003")
    assert rows == published
    assert [list(row) for row in rows] == [list(row) for row in published]


def test_answers_are_paired_by_instruction(tmp_path: Path) -> None:
    reference = read_reference(write(tmp_path / "r.json", reference_rows()[::-1]))
    assert reference.generator == "gpt4"
    assert make_pairs("golden", PROMPTS, ["a1", "a2"], reference) == [
        AnswerPair(PROMPTS[0], "a1", "r1", "golden", "gpt4"),
        AnswerPair(PROMPTS[1], "a2", "r2", "golden", "gpt4"),
    ]


def test_a_prompt_without_a_reference_is_named(tmp_path: Path) -> None:
    reference = read_reference(write(tmp_path / "r.json", reference_rows(instruction="Other?")))
    with pytest.raises(
        UserError, match=r"evaluate.reference_path=.*answers 1 of 2 prompts, and not 'Q2\?'"
    ):
        make_pairs("golden", PROMPTS, ["a1", "a2"], reference)


@pytest.mark.parametrize(
    "rows, reason",
    [
        (reference_rows(generator="other"), "answers of gpt4, other"),
        (reference_rows(instruction="Q1?"), r"two answers to 'Q1\?'"),
        (reference_rows(output=None), "row 2 .*output should be a text"),
        (reference_rows(generator=None), "row 2 .*generator should be a text"),
    ],
)
def test_other_reference_files_are_refused(tmp_path: Path, rows: object, reason: str) -> None:
    with pytest.raises(UserError, match=rf"evaluate.reference_path=.*{reason}"):
        read_reference(write(tmp_path / "r.json", rows))


def test_a_missing_reference_file_is_named() -> None:
    with pytest.raises(UserError, match="evaluate.reference_path=/nowhere/r.json"):
        read_reference("/nowhere/r.json")


def test_win_rates_by_subset() -> None:
    found = results_of(
        [
            verdict(1.0, 1.0),
            verdict(0.5, 0.5),
            verdict(1.0, 0.0, "vicuna"),
            verdict(0.0, 0.0, "vicuna"),
            verdict(1.0, None, "vicuna"),
            verdict(None, None, "oasst"),
        ]
    )
    overall = found["win_rate", "all"]
    assert (overall.value, overall.n) == (50.0, 4)
    assert overall.details == {
        "num_pairs": 6,
        "num_wins": 1,
        "num_ties": 2,
        "num_losses": 1,
        "num_flipped": 1,
        "num_unparseable": 3,
    }
    assert (found["win_rate", "koala"].value, found["win_rate", "koala"].n) == (75.0, 2)
    assert (found["win_rate", "vicuna"].value, found["win_rate", "vicuna"].n) == (25.0, 2)
    assert found["win_rate", "vicuna"].details["num_unparseable"] == 1
    assert (found["win_rate", "oasst"].value, found["win_rate", "oasst"].n) == (None, 0)
    assert found["win_rate", "oasst"].low is None
    assert (found["flip_rate", "all"].value, found["flip_rate", "all"].n) == (25.0, 4)
    assert ("length_controlled_win_rate", "all") not in found


def test_the_interval_holds_the_value_and_narrows_with_prompts() -> None:
    few = results_of([verdict(1.0, 1.0), verdict(0.0, 0.0)] * 5)["win_rate", "all"]
    many = results_of([verdict(1.0, 1.0), verdict(0.0, 0.0)] * 80)["win_rate", "all"]
    for result in (few, many):
        assert result.low is not None and result.high is not None
        assert 0 <= result.low < 50.0 < result.high <= 100
    assert many.high - many.low < (few.high - few.low) / 2  # type: ignore[operator]


def test_annotations_put_the_reference_first() -> None:
    """1: the reference is preferred, 2: the model; alpaca_eval leaves out what is null."""
    texts = ("[[A]] it says", "[[C]]")
    judged = replace(verdict(1.0, 0.5, answer="mine", reference="theirs"), texts=texts)
    rows = annotation_rows([judged, verdict(0.0, 0.0), verdict(None, 1.0)], "judge")
    assert rows[0] == {
        **{"instruction": "Q?", "output_1": "theirs", "generator_1": "gpt4", "dataset": "koala"},
        **{"output_2": "mine", "generator_2": "golden", "annotator": "judge"},
        **{"preference": 1.75, "raw_completion": list(texts)},
    }
    assert [row["preference"] for row in rows] == [1.75, 1.0, None]


def test_nothing_judged_is_no_number() -> None:
    found = results_of([verdict(None, None)])
    assert {result.value for result in found.values()} == {None}
    assert {result.n for result in found.values()} == {0}


def test_the_length_adjusted_rate_is_reported_with_the_lengths() -> None:
    """The reference's answers have 10 characters; longer ones win three times of four."""
    lengths = [*range(11, 31), *range(1, 8)] * 2
    shares = [float((n > 10) != (n % 4 == 0)) for n in lengths]
    verdicts = [
        verdict(share, share, answer="a" * n, reference="r" * 10)
        for n, share in zip(lengths, shares, strict=True)
    ]
    results = results_of(verdicts)
    adjusted = results["length_adjusted_win_rate", "all"]
    assert adjusted.n == 54 and adjusted.details["mean_reference_chars"] == 10.0
    assert adjusted.details["mean_answer_chars"] == pytest.approx(np.mean(lengths))
    assert adjusted.details["length_effect"] > 0
    assert adjusted.value is not None and adjusted.value < results["win_rate", "all"].value


def test_a_length_adjusted_rate_that_cannot_hold_says_why() -> None:
    adjusted = results_of([verdict(1.0, 1.0), verdict(0.0, 1.0)])["length_adjusted_win_rate", "all"]
    assert (adjusted.value, adjusted.low) == (None, None)
    assert interval_text(adjusted) == "needs 30 pairs"
