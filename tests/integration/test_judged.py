"""A judged evaluation as a user runs it: what it writes for its owners and for people, what it is
pinned to, and that nothing takes the place of what is unlike it.
"""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from evaluate_runs import (
    evaluate_overrides,
    make_model,
    read_lines,
    results_of,
    write_alpaca_prompts,
    write_lines,
    write_questions,
)
from faulty_endpoint import FaultyEndpoint, Reply, Request, completion
from score_runs import result_of, run_job

from nuggets_ray.config.schema import Config, ModelConfig, PromptConfig
from nuggets_ray.run.job_configs import write_config

JUDGE = "my/judge"


@pytest.fixture
def out_dir(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder that knows its base model, and holds nothing else."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    model = make_model(tiny_model, tmp_path / "model")
    config = Config(str(tmp_path / "run"), model=ModelConfig(str(model)))
    write_config(config.out_dir, "score", replace(config, prompt=PromptConfig("alpaca")))
    return tmp_path / "run"


def evaluate(out_dir: Path, server: FaultyEndpoint, *more: str) -> subprocess.CompletedProcess[str]:
    judge = (f"judge.model={JUDGE}", f"judge.url={server.url}")
    return run_job("evaluate", *evaluate_overrides(out_dir, *judge, *more))


def verdicts(out_dir: Path) -> list[dict[str, Any]]:
    parts = (out_dir / "evaluation" / "judge").glob("part-*.jsonl")
    return [line for part in parts for line in read_lines(part)]


def likes_the_first(request: Request) -> Reply:
    return completion("The first one. [[A]]")


def grades_seven(request: Request) -> Reply:
    return completion("Not [[3]], but rather [[7]]")


def test_win_rates_and_whose_they_are(out_dir: Path, tmp_path: Path) -> None:
    prompts = write_alpaca_prompts(tmp_path / "prompts.json", 3)
    rows = [{**row, "output": "no", "generator": "r"} for row in json.loads(prompts.read_bytes())]
    reference = tmp_path / "reference.json"
    reference.write_text(json.dumps(rows))
    overrides = (
        *("evaluate=alpaca_eval", f"evaluate.prompts_path={prompts}"),
        *(f"evaluate.reference_path={reference}", "evaluate.primary=alpaca_eval/win_rate"),
    )
    folder = out_dir / "evaluation" / "alpaca_eval"
    with FaultyEndpoint(answer=likes_the_first) as server:
        job = evaluate(out_dir, server, *overrides)
        wrote = set(result_of(job)["wrote"])
        assert len(server.requests) == 6
        annotations = folder / "prompts" / "base" / "my-judge" / "annotations.json"
        page = out_dir / "evaluation" / "judge" / "alpaca_eval" / "prompts" / "my-judge" / "base.md"
        assert {str(annotations), str(page)} <= wrote
        told = json.loads(annotations.read_bytes())
        assert [(row["preference"], row["generator_1"]) for row in told] == [(1.5, "r")] * 3
        assert page.read_text().count("> The first one. [[A]]") == 6
        orders = [line["about"]["models"] for line in verdicts(out_dir)]
        assert sorted(orders) == [["base", "r"]] * 3 + [["r", "base"]] * 3
        assert {line["judge"] for line in verdicts(out_dir)} == {JUDGE}

        before = results_of(out_dir)
        assert before["pins"]["judge"] == JUDGE and before["pins"]["seed"] == 0
        assert set(before["pins"]["data"]) == {"prompts", "reference", "rows"}
        assert f"alpaca_eval/win_rate (prompts, {JUDGE}, 1) *" in job.stdout

        named = (*overrides, "evaluate.name=prompts", "evaluate.limit=2")
        refused = evaluate(out_dir, server, *named)
        assert refused.returncode == 2
        assert (
            "evaluate.name=prompts: alpaca_eval was evaluated under this name with another"
            in (refused.stderr.splitlines()[-1])
        )
        assert results_of(out_dir) == before

        first_two = evaluate(out_dir, server, *overrides, "evaluate.limit=2")
        result_of(first_two)
        assert len(server.requests) == 6, "the same verdicts"
    after = results_of(out_dir)
    assert before["results"] == after["results"][: len(before["results"])]
    assert before["pins"] == after["pins"]
    rates = [row for row in after["results"] if row["metric"] == "win_rate"]
    primary = {row["name"]: row["primary"] for row in rates if row["subset"] == "all"}
    assert primary == {"prompts": True, "prompts-first-2": False}
    assert sorted(path.name for path in folder.iterdir()) == ["prompts", "prompts-first-2"]


def test_grades_in_fastchat_s_file(out_dir: Path, tmp_path: Path) -> None:
    questions = write_questions(tmp_path / "question.jsonl", 3)
    turns = [{"index": 0, "turns": ["r1", "r2"]}]
    references = [{"question_id": 81 + i, "choices": turns} for i in range(3)]
    reference = write_lines(tmp_path / "reference.jsonl", references)
    overrides = (
        *("evaluate=mt_bench", f"evaluate.prompts_path={questions}"),
        *(f"evaluate.reference_path={reference}", "evaluate.primary=mt_bench/grade"),
    )
    with FaultyEndpoint(answer=grades_seven) as server:
        result_of(evaluate(out_dir, server, *overrides))
    folder = out_dir / "evaluation" / "mt_bench" / "question"
    rows = read_lines(folder / "model_judgment" / "my-judge_single.jsonl")
    assert [(row["question_id"], row["turn"], row["score"]) for row in rows] == [
        (question, turn, 7.0) for question in (81, 82, 83) for turn in (1, 2)
    ]
    assert all("Not [[3]], but" in row["judgment"] for row in rows)
    assert "r1" in rows[0]["user_prompt"] and "r1" not in rows[2]["user_prompt"], "maths alone"
    page = out_dir / "evaluation" / "judge" / "mt_bench" / "question" / "my-judge" / "base.md"
    assert page.read_text().count("7 of 10") == 6
    primary = [row for row in results_of(out_dir)["results"] if row["primary"]]
    assert [(row["metric"], row["value"], row["n"]) for row in primary] == [("grade", 7.0, 3)]
    answered = read_lines(folder / "model_answer" / "base.jsonl")
    assert [row["question_id"] for row in answered] == [81, 82, 83]
