"""What the judged benchmarks write, with stand-ins for the replicas and the judge."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from evaluate_runs import read_lines, write_alpaca_prompts, write_lines, write_questions

from nuggets_ray.config.evaluate import EvaluateConfig, JudgeConfig
from nuggets_ray.config.schema import Config, ModelConfig, PromptConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.generate.answer import Answer, Asked
from nuggets_ray.evaluate.judge.judge import JudgeTask
from nuggets_ray.evaluate.models import EvalModel
from nuggets_ray.evaluate.results import Results
from nuggets_ray.run.manifest import Run
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.evaluate import benchmarks
from nuggets_ray.stages.evaluate.context import Context


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """What the models are asked; the judge likes the first, and grades 7."""
    seen: list[Asked] = []

    @contextmanager
    def answered(config: Config, model: EvalModel, *_: object) -> Iterator[object]:
        def answer_all(some: Sequence[Asked]) -> list[Answer | str]:
            seen.extend(some)
            return [Answer(f"{model.name} says {one.messages[-1].text}", 3, False) for one in some]

        yield answer_all

    def judge(tasks: Sequence[JudgeTask]) -> list[str]:
        return ["The first. [[A]] [7]" for _ in tasks]

    monkeypatch.setattr(benchmarks, "open_answers", answered)
    monkeypatch.setattr(benchmarks, "make_judge", lambda *_: judge)
    return seen


def context(tmp_path: Path, evaluate: EvaluateConfig) -> Context:
    out_dir = str(tmp_path / "run")
    config = Config(out_dir, evaluate=evaluate, judge=JudgeConfig(model="my/judge"))
    models = [EvalModel(n, ModelConfig("m"), PromptConfig("alpaca")) for n in ("base", "golden")]
    return Context(
        config, models, "float32", Workers(1, 0.0, 1), Run(out_dir, "evaluate"), Results("x/y")
    )


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.read_bytes())
    return rows


def test_alpaca_eval_writes_answers_annotations_and_pages(
    asked: list[Asked], tmp_path: Path
) -> None:
    prompts = write_alpaca_prompts(tmp_path / "prompts.json", 3)
    reference = tmp_path / "reference.json"
    reference.write_text(
        json.dumps([{**row, "output": "no", "generator": "r"} for row in rows_of(prompts)])
    )
    evaluate = EvaluateConfig(
        "alpaca_eval", prompts_path=str(prompts), reference_path=str(reference)
    )
    one = context(tmp_path, evaluate)
    outcome = benchmarks.run_alpaca_eval(one)
    folder = tmp_path / "run" / "evaluation"
    for model in ("base", "golden"):
        place = folder / "alpaca_eval" / "prompts" / model
        told = rows_of(place / "my-judge" / "annotations.json")
        assert [(row["preference"], row["generator_2"]) for row in told] == [(1.5, model)] * 3
        assert [row["generator"] for row in rows_of(place / "model_outputs.json")] == [model] * 3
        page = folder / "judge" / "alpaca_eval" / "prompts" / "my-judge" / f"{model}.md"
        assert page.read_text().count("> The first. [[A]] [7]") == 6
        assert str(page) in outcome.wrote
    assert {temperature for temperature in (a.temperature for a in asked)} == {0.0}
    rates = {
        r.model: r.value for r in outcome.results if (r.metric, r.subset) == ("win_rate", "all")
    }
    assert rates == {"base": 50.0, "golden": 50.0}

    before = [replace(r, name="prompts", seed=0) for r in outcome.results]
    again = replace(one, results=Results("x/y", tuple(before)))
    assert len(benchmarks.run_alpaca_eval(again).results) == len(before)
    num_asked = len(asked)
    limited = replace(one.config, evaluate=replace(evaluate, name="prompts", limit=2))
    with pytest.raises(UserError, match="evaluate.name=prompts: alpaca_eval was evaluated under"):
        benchmarks.run_alpaca_eval(replace(again, config=limited))
    assert len(asked) == num_asked, "told before a model is asked"


def test_mt_bench_answers_as_warm_as_fastchat_and_writes_its_judgments(
    asked: list[Asked], tmp_path: Path
) -> None:
    questions = write_questions(tmp_path / "question.jsonl", 3)
    choices = [{"index": 0, "turns": ["r1", "r2"]}]
    rows = [{"question_id": 81 + i, "choices": choices} for i in range(3)]
    reference = write_lines(tmp_path / "reference.jsonl", rows)
    evaluate = EvaluateConfig(
        "mt_bench", prompts_path=str(questions), reference_path=str(reference), limit=2
    )
    outcome = benchmarks.run_mt_bench(context(tmp_path, evaluate))
    assert [one.temperature for one in asked[:4]] == [0.0, 0.7, 0.0, 0.7], "maths, writing"
    folder = tmp_path / "run" / "evaluation" / "mt_bench" / "question-first-2"
    judged = read_lines(folder / "model_judgment" / "my-judge_single.jsonl")
    assert len(judged) == 2 * 2 * 2 and {row["score"] for row in judged} == {7.0}
    assert len(read_lines(folder / "model_answer" / "golden.jsonl")) == 2
    assert outcome.results[-1].generation == {
        **(outcome.results[-1].generation or {}),
        "temperature": {"math": 0.0, "writing": 0.7},
    }
    assert set(outcome.values) == {"grade", "grade_turn_1"}
    assert outcome.values["grade"]["golden"].tolist() == [7.0, 7.0]
