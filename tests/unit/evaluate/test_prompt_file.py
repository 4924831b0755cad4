"""Prompts from every shape of file that the benchmarks publish, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.prompt_file import (
    BenchmarkPrompt,
    read_alpaca_prompts,
    read_mt_bench_questions,
)

QUESTIONS = [
    {"question_id": 81, "category": "writing", "turns": ["Write.", "Rewrite."]},
    {"question_id": 101, "category": "math", "turns": ["1+1?", "And 2+2?"], "reference": ["2"]},
]


def write(path: Path, rows: list[Any]) -> str:
    text = json.dumps(rows) if path.suffix == ".json" else "\n".join(map(json.dumps, rows))
    path.write_text(text, "utf-8")
    return str(path)


@pytest.mark.parametrize(
    "row, expected",
    [
        ({"instruction": "Say hi", "dataset": "koala"}, BenchmarkPrompt("0", ("Say hi",), "koala")),
        ({"instruction": "Say hi"}, BenchmarkPrompt("0", ("Say hi",), "set")),
        ({"id": "koala_0", "prompt": "Say hi"}, BenchmarkPrompt("koala_0", ("Say hi",), "set")),
        (
            {"id": "t", "instruction": "Mend", "instances": [{"input": "txet", "output": "text"}]},
            BenchmarkPrompt("t", ("Mend\n\ntxet",), "set"),
        ),
        (
            {"id": "t", "instruction": "Sing", "instances": [{"input": "", "output": "la"}]},
            BenchmarkPrompt("t", ("Sing",), "set"),
        ),
        (QUESTIONS[0], BenchmarkPrompt("81", ("Write.",), "writing")),
    ],
)
def test_a_prompt_of_each_shape(
    tmp_path: Path, row: dict[str, Any], expected: BenchmarkPrompt
) -> None:
    for name in ("set.json", "set.jsonl"):
        assert read_alpaca_prompts(write(tmp_path / name, [row]), None) == [expected]


def test_questions_have_the_wanted_turns(tmp_path: Path) -> None:
    path = write(tmp_path / "question.jsonl", QUESTIONS)
    assert read_mt_bench_questions(path, None, 2) == [
        BenchmarkPrompt("81", ("Write.", "Rewrite."), "writing"),
        BenchmarkPrompt("101", ("1+1?", "And 2+2?"), "math"),
    ]
    assert read_mt_bench_questions(path, 1, 1) == [BenchmarkPrompt("81", ("Write.",), "writing")]


def test_too_few_turns(tmp_path: Path) -> None:
    path = write(tmp_path / "q.jsonl", [{"question_id": 1, "category": "a", "turns": ["One?"]}])
    with pytest.raises(UserError, match=r"evaluate.turns=2: question 1 .*set evaluate.turns=1"):
        read_mt_bench_questions(path, None, 2)


def test_a_limit_reads_no_further(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"instruction": "a"}, {"instruction": "b"}, "wrong"])
    assert [p.turns for p in read_alpaca_prompts(path, 2)] == [("a",), ("b",)]


@pytest.mark.parametrize(
    "rows, reason",
    [
        (["text"], "row 1 .*no JSON object"),
        ([{"instruction": "a"}, {"question": "b"}], "row 2 .*the row has question"),
        ([{"instruction": 3}], "instruction should be a text"),
        ([{"instruction": "\ud83d"}], "instruction should be a text"),
        ([{"instruction": "  "}], "the prompt is empty"),
        ([{"id": None, "prompt": "a"}], "id should be"),
        ([{"id": "a", "instruction": "a", "instances": []}], "instances should be"),
        ([{"id": "a", "prompt": "a"}, {"id": "a", "prompt": "b"}], "two prompts have the id a"),
        ([], "holds no rows"),
    ],
)
def test_other_shapes_are_refused(tmp_path: Path, rows: list[Any], reason: str) -> None:
    path = write(tmp_path / "set.jsonl", rows)
    with pytest.raises(UserError, match=rf"evaluate.prompts_path=.*set.jsonl.*{reason}"):
        read_alpaca_prompts(path, None)


@pytest.mark.parametrize(
    "row, reason",
    [
        ({"category": "a", "turns": ["b"]}, "question_id should be"),
        ({"question_id": True, "category": "a", "turns": ["b"]}, "question_id should be"),
        ({"question_id": 1, "category": "a", "turns": []}, "turns should be"),
        ({"question_id": 1, "category": "a", "turns": ["b", 2]}, "turns should be"),
        ({"question_id": 1, "turns": ["b"]}, "category should be"),
    ],
)
def test_other_questions_are_refused(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        read_mt_bench_questions(write(tmp_path / "q.jsonl", [row]), None, 1)


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"instruction": "a"}\n{"instruc', "utf-8")
    with pytest.raises(UserError, match="row 2 .*invalid_json"):
        read_alpaca_prompts(str(tmp_path / "a.jsonl"), None)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UserError, match=r"evaluate.prompts_path=/nowhere/a.json: there is no such"):
        read_alpaca_prompts("/nowhere/a.json", None)


def test_the_published_files(test_data: Path) -> None:
    folder = test_data / "evaluation"
    prompts = read_alpaca_prompts(str(folder / "alpaca_eval_805_outputs_gpt4.json"), None)
    assert len(prompts) == 805 and len({p.category for p in prompts}) == 5
    texts = {p.turns[0] for p in prompts if p.category == "selfinstruct"}
    own = read_alpaca_prompts(str(folder / "self_instruct_user_oriented_252.jsonl"), None)
    assert {p.turns[0] for p in own} == texts
    assert len(read_alpaca_prompts(str(folder / "koala_test_set.jsonl"), None)) == 180
    assert len(read_alpaca_prompts(str(folder / "vicuna_bench_question.jsonl"), None)) == 80
    questions = read_mt_bench_questions(str(folder / "mt_bench_question.jsonl"), None, 2)
    assert len(questions) == 80 and all(len(q.turns) == 2 for q in questions)
