"""The rows that all models are compared on, and the log-probs that are kept of them."""

import json
from pathlib import Path

import pytest

from nuggets_ray import io
from nuggets_ray.config.evaluate import EvaluateConfig
from nuggets_ray.config.schema import Config, DataConfig, ModelConfig, PromptConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.likelihood.compared import (
    ComparedRows,
    choose_rows,
    read_kept,
    write_kept,
)
from nuggets_ray.evaluate.likelihood.paired import RowLogProbs
from nuggets_ray.evaluate.models import EvalModel
from nuggets_ray.run.layout import RunFolder

KEY = {"weights": "abc", "dtype": "float32"}


def choose(tiny_model: Path, tmp_path: Path, *rows: dict[str, str]) -> ComparedRows:
    path = tmp_path / "held.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    evaluate = EvaluateConfig(held_out_path=str(path))
    config = Config(str(tmp_path / "run"), data=DataConfig(), evaluate=evaluate)
    return choose_rows(
        config, [EvalModel("base", ModelConfig(str(tiny_model)), PromptConfig("alpaca"))]
    )


def row(number: int, answer: str = "It is so.", **more: str) -> dict[str, str]:
    return {"instruction": f"Tell about {number}, please.", "output": answer, **more}


def test_rows_that_no_model_has_room_for_are_left_out(tiny_model: Path, tmp_path: Path) -> None:
    rows = [row(0, category="a"), row(1, "x" * 5000), row(2), {"instruction": "q", "output": ""}]
    compared = choose(tiny_model, tmp_path, *rows)
    assert [held.category for held in compared.rows] == ["a", None]
    assert compared.left_out == {"longer_than_context": 1, "empty_answer": 1}
    told = json.loads(io.read_bytes(RunFolder(str(tmp_path / "run")).evaluation.held_out("held")))
    assert (told["num_rows"], told["num_used"], told["left_out"]) == (3, 2, [])
    with pytest.raises(UserError, match="evaluate.held_out_path: no row of .*held.jsonl can be"):
        choose(tiny_model, tmp_path, rows[1])


def test_a_mean_over_tokens_becomes_a_sum(tiny_model: Path, tmp_path: Path) -> None:
    compared = choose(tiny_model, tmp_path, row(0, "12345", category="a"), row(1, "123"))
    first, second = compared.rows
    mean = {first.example_id: -0.5, second.example_id: -2.0, "another": 0.0}
    num_tokens = [compared.encodings[held.example_id].num_answer_tokens for held in compared.rows]
    assert num_tokens == [5, 3], "a byte a token"
    assert compared.row_log_probs(mean) == [
        RowLogProbs(first.example_id, "a", 5, -2.5),
        RowLogProbs(second.example_id, None, 3, -6.0),
    ]


def test_what_is_kept_counts_under_its_own_key(tmp_path: Path) -> None:
    uri = str(tmp_path / "likelihood" / "base.json")
    assert read_kept(uri, KEY) == {}
    write_kept(uri, KEY, {"a": -1.25, "b": -0.1})
    assert read_kept(uri, KEY) == {"a": -1.25, "b": -0.1}
    assert read_kept(uri, KEY | {"dtype": "bfloat16"}) == {}
