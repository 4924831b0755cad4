"""What all answered benchmarks share: lengths of answers, and how they came about."""

from pathlib import Path

import numpy as np
import pytest

from nuggets_ray import io
from nuggets_ray.config.evaluate import EvaluateConfig, GenerateConfig
from nuggets_ray.evaluate.benchmarks.answers import (
    array_of,
    data_of,
    described,
    equal_parts,
    length_result,
    warn_of_unparseable,
)
from nuggets_ray.evaluate.generate.answer import Answer, generation_settings
from nuggets_ray.evaluate.prompt_file import BenchmarkPrompt
from nuggets_ray.evaluate.prompt_set import rows_sha256


def test_lengths_count_every_turn() -> None:
    answers = [[Answer("one", 4, False), Answer("", 0, True)], [Answer("cut", 8, True)]]
    result = length_result("golden", "mt_bench", answers)
    assert (result.value, result.n) == (4.0, 3)
    assert result.details == {"num_cut": 2, "num_empty": 1}
    assert (result.model, result.benchmark, result.metric) == (
        *("golden", "mt_bench", "mean_answer_tokens"),
    )


def test_results_say_how_answers_were_written_and_what_was_read(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.json"
    prompts.write_text("[]")
    asked = [BenchmarkPrompt("1", ("Why?",), "math"), BenchmarkPrompt("2", ("How?",), "math")]
    data = data_of(EvaluateConfig(prompts_path=str(prompts)), asked)
    assert data == {"prompts": io.sha256(str(prompts)), "rows": rows_sha256(asked)}
    generation = generation_settings(GenerateConfig(), "float32", 3)
    plain = length_result("golden", "mt_bench", [[Answer("one", 4, False)]])
    [result] = described([plain], data, generation)
    assert (result.data, result.generation) == (data, generation)
    assert (result.value, result.key) == (plain.value, plain.key)


def test_parts_are_equal_and_in_order() -> None:
    assert equal_parts([*range(6)], 3) == [[0, 1], [2, 3], [4, 5]]
    assert equal_parts("abcd", 2) == ["ab", "cd"]


def test_what_could_not_be_read_counts_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    np.testing.assert_array_equal(array_of([1, None, 0.5]), [1.0, np.nan, 0.5])
    warn_of_unparseable("j", 0, 4)
    assert caplog.text == ""
    warn_of_unparseable("j", 3, 4)
    assert "judge j: 3 of 4 verdicts cannot be read" in caplog.text
