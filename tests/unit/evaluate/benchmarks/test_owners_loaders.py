"""Our files through alpaca_eval's and FastChat's own code, where the two install."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from score_runs import ROOT

from nuggets_ray.evaluate.benchmarks.alpaca_eval import (
    annotation_rows,
    output_rows,
    win_rate_results,
)
from nuggets_ray.evaluate.benchmarks.mt_bench import answer_rows, grade_results, judgment_rows
from nuggets_ray.evaluate.judge.judge import Answered, AnswerPair, Grade, PairVerdict
from nuggets_ray.evaluate.prompt_file import read_alpaca_prompts, read_mt_bench_questions
from nuggets_ray.evaluate.results import Result

PACKAGES = (
    *("alpaca_eval==0.6.6", "fschat==0.2.36", "fire", "termcolor", "python-dotenv", "patsy"),
)


@pytest.fixture(scope="module")
def owners(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the two packages, beside those of this environment."""
    folder = tmp_path_factory.mktemp("owners")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    installed = subprocess.run([*command, *PACKAGES], capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"alpaca_eval and FastChat do not install: {installed.stderr[-300:]}")
    return folder


def value_of(results: list[Result], metric: str) -> float:
    [value] = [r.value for r in results if (r.metric, r.subset) == (metric, "all")]
    assert value is not None
    return value


def write_difficulty(hub: Path, difficulty: np.ndarray) -> None:
    """df_gamed.csv with invented numbers, as the hub's cache has it: difficulty goes by index."""
    folder = hub / "datasets--tatsu-lab--alpaca_eval"
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    rng = np.random.default_rng(0)
    with (folder / "snapshots" / "abc" / "df_gamed.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        columns = ("model", "index", "preference", "std_delta_len", "instruction_difficulty")
        writer.writerow([*columns, "not_gamed_baseline"])
        for index in range(805):
            preference, delta = rng.random(), rng.normal()
            writer.writerow(["gamed", index, preference, delta, difficulty[index], False])


def write_alpaca_eval(test_data: Path, folder: Path) -> tuple[float, np.ndarray]:
    """Outputs, and verdicts that depend on the instruction's difficulty, as do the lengths; the
    win rate, and the difficulties (805,).
    """
    published = test_data / "evaluation" / "alpaca_eval_805_outputs_text_davinci_003.json"
    prompts = read_alpaca_prompts(str(published), None)
    texts = [row["output"] for row in json.loads(published.read_bytes())]
    ease = np.argsort(np.argsort([len(text) for text in texts])) / len(texts)
    won = ease + np.random.default_rng(1).normal(scale=0.2, size=805) > 0.4
    verdicts = [
        PairVerdict(
            AnswerPair(prompt, text, text[: len(text) // 2], "golden", "reference"),
            float(won[i]),
            None if i % 50 == 0 else 0.5 if i % 7 == 0 else float(won[i]),
        )
        for i, (prompt, text) in enumerate(zip(prompts, texts, strict=True))
    ]
    rows = annotation_rows(verdicts, "judge")
    by_row: list[dict[str, Any]] = [{**row, "index": 804 - row["index"]} for row in rows]
    files = {
        **{"model_outputs.json": output_rows(prompts, texts, "golden"), "annotations.json": rows},
        **{"reversed.json": rows[::-1], "by_row.json": by_row},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), "utf-8")
    results = win_rate_results("golden", "reference", verdicts, "judge", 0, 0)
    return value_of(results, "win_rate"), 4 * (ease - 0.5)


def write_mt_bench(test_data: Path, folder: Path) -> dict[str, float]:
    """Answers and grades of two models; {metric: value of golden}."""
    path = test_data / "evaluation" / "mt_bench_question.jsonl"
    (folder / "question.jsonl").write_bytes(path.read_bytes())
    questions = read_mt_bench_questions(str(path), None, 2)
    (folder / "model_answer").mkdir()
    rows, found = [], []
    for model in ("golden", "base"):
        answered = [Answered(model, q, ("a", f"b of {model}")) for q in questions]
        lines = answer_rows(questions, [one.turns for one in answered], model, 1.5)
        text = "".join(json.dumps(row) + "\n" for row in lines)
        (folder / "model_answer" / f"{model}.jsonl").write_text(text, "utf-8")
        grades = [
            Grade(one, turn, None if (i + turn) % 7 == 0 else float((i * turn) % 10 + 1), "q", "t")
            for i, one in enumerate(answered)
            for turn in (1, 2)
        ]
        rows += judgment_rows(grades, "j", 1.5)
        found.append(grade_results(model, grades, "j", 0))
    (folder / "j_single.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {m: value_of(found[0], m) for m in ("grade_turn_1", "grade_turn_2", "grade")}


@pytest.mark.slow
def test_their_owners_read_our_files_and_find_our_numbers(
    owners: Path, test_data: Path, tmp_path: Path
) -> None:
    win_rate, difficulty = write_alpaca_eval(test_data, tmp_path)
    grades = write_mt_bench(test_data, tmp_path)
    write_difficulty(tmp_path / "hub", difficulty)
    environment = {
        **{**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"},
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(owners)]),
    }
    script = ROOT / "tests" / "support" / "owners_loaders.py"
    command = [sys.executable, str(script), str(tmp_path)]
    job = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert job.returncode == 0, job.stderr[-3000:]
    facts = json.loads(job.stdout.splitlines()[-1])

    alpaca = facts["alpaca_eval"]
    assert alpaca["outputs"] == [805, "dataset", "instruction", "output", "generator"]
    assert alpaca["win_rate"] == pytest.approx(win_rate)
    controlled = alpaca["controlled"]
    assert controlled["reversed.json"] == pytest.approx(controlled["annotations.json"], abs=0.2)
    by_row = controlled["by_row.json"]
    assert abs(by_row - controlled["annotations.json"]) > 1, "difficulties of others"

    fastchat = facts["fastchat"]
    assert (fastchat["questions"], fastchat["answers"]) == (80, {"golden": 80, "base": 80})
    assert list(fastchat["judgments"].values()) == [160, 160], "a turn each, of both models"
    shown = re.findall(r"^golden\s+(?:[12]\s+)?(\d+\.\d+)$", job.stdout, re.MULTILINE)
    assert [float(value) for value in shown] == pytest.approx(list(grades.values()), abs=1e-5)
