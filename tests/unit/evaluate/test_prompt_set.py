"""What a set of prompts is called, and that one name stays one set."""

from pathlib import Path
from typing import Any

import pytest

from nuggets_ray.config.evaluate import EvaluateConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.prompt_file import BenchmarkPrompt
from nuggets_ray.evaluate.prompt_set import (
    check_name,
    check_same_set,
    file_name,
    rows_sha256,
    set_name,
)
from nuggets_ray.evaluate.results import Result, Results

DATA = {"prompts": "a" * 64, "rows": "b" * 64}
GENERATION = {"max_tokens": 64, "temperature": 0.0}
BEFORE = Result(
    *("golden", "alpaca_eval", "win_rate", 50.0, 9),
    **{"data": DATA, "generation": GENERATION, "name": "koala", "limit": None, "seed": 0},
)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"method": "alpaca_eval", "prompts_path": "/data/koala_test_set.jsonl"}, "koala_test_set"),
        (
            {"method": "mt_bench", "prompts_path": "/data/question.jsonl", "limit": 9},
            "question-first-9",
        ),
        ({"method": "mt_bench", "prompts_path": "q.jsonl", "limit": 9, "name": "own"}, "own"),
        ({"method": "alpaca_eval", "prompts_path": "s3://b/my prompts/"}, "my-prompts"),
        ({"method": "alpaca_eval", "prompts_path": "/data/*.json"}, "prompts"),
        ({"held_out_path": "/data/test.jsonl", "prompts_path": "/data/q.jsonl"}, "test"),
        ({}, None),
        ({"limit": 3}, "first-3"),
        ({"method": "lm_eval", "prompts_path": "/data/q.jsonl"}, None),
    ],
)
def test_a_set_is_called_after_its_file(given: dict[str, Any], expected: str | None) -> None:
    assert set_name(EvaluateConfig(**given)) == expected


@pytest.mark.parametrize("name", ["a/b", "..", "", "my set", "-x"])
def test_a_name_that_is_no_folder_s_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="evaluate.name="):
        check_name(name)


def test_names_of_folders() -> None:
    check_name(None)
    check_name("koala_test-2.b")
    assert file_name("openai/gpt-4 (turbo)") == "openai-gpt-4-turbo"


def test_rows_are_told_by_their_text_and_order(tmp_path: Path) -> None:
    one, two = BenchmarkPrompt("1", ("a", "b"), "x"), BenchmarkPrompt("2", ("c",), "x")
    hashes = [rows_sha256(rows) for rows in ([one, two], [two, one], [one], [])]
    assert len(set(hashes)) == 4 and rows_sha256([one, two]) == hashes[0]
    first_turn = BenchmarkPrompt("1", ("a",), "x")
    assert rows_sha256([first_turn]) != rows_sha256([one])


@pytest.mark.parametrize(
    ("limit", "data", "generation", "what"),
    [
        (5, DATA, GENERATION, r"evaluate.limit \(None, now 5\)"),
        (None, {**DATA, "prompts": "c" * 64}, GENERATION, "evaluate.prompts_path"),
        (None, {**DATA, "rows": "c" * 64}, GENERATION, "set of rows"),
        (None, DATA, {**GENERATION, "temperature": 0.5}, r"temperature \(0.0, now 0.5\)"),
    ],
)
def test_nothing_is_overwritten_by_what_is_unlike_it(
    limit: int | None, data: dict[str, str], generation: dict[str, Any], what: str
) -> None:
    evaluate = EvaluateConfig("alpaca_eval", prompts_path="koala.json", name="koala", limit=limit)
    with pytest.raises(UserError, match=f"evaluate.name=koala: .*another .*{what}.*koala-2"):
        check_same_set(Results("x/y", (BEFORE,)), "alpaca_eval", evaluate, 0, data, generation)


def test_the_same_set_goes_on() -> None:
    results = Results("x/y", (BEFORE,))
    evaluate = EvaluateConfig("alpaca_eval", prompts_path="/data/koala.json")
    check_same_set(results, "alpaca_eval", evaluate, 0, DATA, GENERATION)
    more = {**DATA, "reference": "d" * 64}
    check_same_set(results, "alpaca_eval", evaluate, 0, more, GENERATION)  # judged later
    other = EvaluateConfig("alpaca_eval", prompts_path="/data/vicuna.json")
    check_same_set(results, "alpaca_eval", other, 0, {"prompts": "e"}, {})
    check_same_set(results, "mt_bench", evaluate, 0, {"prompts": "e"}, {})
    earlier = Result("golden", "likelihood", "p", 1.0, 9, data={"held_out": "a"})
    check_same_set(Results("x/y", (earlier,)), "likelihood", EvaluateConfig(), 0, {"held_out": "b"})
    assert set_name(EvaluateConfig()) is None


def test_the_run_s_own_rows_are_one_set_too() -> None:
    before = Result("golden", "likelihood", "p", 1.0, 9, data={"held_out": "a"}, seed=0)
    results = Results("x/y", (before,))
    check_same_set(results, "likelihood", EvaluateConfig(), 0, {"held_out": "a", "rows": "r"})
    with pytest.raises(UserError, match=r"another seed \(0, now 1\).*evaluate.name=likelihood-2"):
        check_same_set(results, "likelihood", EvaluateConfig(), 1, {"held_out": "a"})
    named = EvaluateConfig(name="likelihood-2")
    check_same_set(results, "likelihood", named, 1, {"held_out": "a"})
