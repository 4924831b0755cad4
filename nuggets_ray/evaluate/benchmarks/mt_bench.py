"""MT-Bench: answers in its own file format, its reference answers, and grades by category.

grade_turn_1 (the paper's setting) and grade_turn_2 are means of the grades of that turn, `grade` of
each question's mean over its turns; all from 1 to 10. An unparseable grade is counted and left out,
and its question out of `grade`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.judge.judge import Grade
from nuggets_ray.evaluate.judge.prompts import PROMPT_VERSION
from nuggets_ray.evaluate.prompt_file import (
    BenchmarkPrompt,
    WrongShapeError,
    id_of,
    read_prompt_rows,
    texts_of,
)
from nuggets_ray.evaluate.results import ALL, Result
from nuggets_ray.evaluate.stats import bootstrap_interval, why_no_interval

BENCHMARK = "mt_bench"
REFERENCE_KEY = "evaluate.reference_path"
REFERENCE_CATEGORIES = ("math", "reasoning", "coding")
"""Judges are poor at these without a reference answer (arXiv 2306.05685)."""


def answer_rows(
    questions: Sequence[BenchmarkPrompt],
    answers: Sequence[Sequence[str]],
    model_id: str,
    tstamp: float,
) -> list[dict[str, Any]]:
    """A model's answers as FastChat's model_answer/*.jsonl has them, a row a line.

    `answers[i]` has a text for each turn; `tstamp` is the time in seconds since 1970. An answer_id
    is the same for the same model, question and answer.
    """
    return [
        {
            "question_id": int(q.prompt_id) if q.prompt_id.isdecimal() else q.prompt_id,
            "answer_id": _answer_id(q.prompt_id, model_id, turns),
            "model_id": model_id,
            "choices": [{"index": 0, "turns": list(turns)}],
            "tstamp": tstamp,
        }
        for q, turns in zip(questions, answers, strict=True)
    ]


def read_reference_answers(path: str) -> dict[str, tuple[str, ...]]:
    """{question id: an answer a turn} of a model_answer file. UserError, naming
    evaluate.reference_path, for a missing file or a row of another shape.
    """
    return dict(read_prompt_rows(path, None, REFERENCE_KEY, lambda row, _: _reference(row)))


def choose_references(
    questions: Sequence[BenchmarkPrompt], path: str | None
) -> dict[str, tuple[str, ...]]:
    """The reference answers of the file at `path` to the questions on maths, reasoning and coding.

    UserError where one of them has none.
    """
    wanted = [q for q in questions if q.category in REFERENCE_CATEGORIES]
    if not wanted:
        return {}
    if path is None:
        raise UserError(
            f"{REFERENCE_KEY} is missing: {len(wanted)} questions on "
            f"{', '.join(REFERENCE_CATEGORIES)} are judged with reference answers: give a file in "
            "the format of mt_bench's model_answer"
        )
    references = read_reference_answers(path)
    for question in wanted:
        if len(references.get(question.prompt_id, ())) < len(question.turns):
            raise UserError(
                f"{REFERENCE_KEY}={path} does not answer each turn of question "
                f"{question.prompt_id} ({question.category}): add it"
            )
    return {q.prompt_id: references[q.prompt_id][: len(q.turns)] for q in wanted}


def grade_results(model: str, grades: Sequence[Grade], judge: str, seed: int) -> list[Result]:
    """grade_turn_N, and with several turns `grade`, over all questions and a category each, with
    95% bootstrap intervals over questions. A value is None where no grade could be parsed.
    """
    subsets = {ALL: list(grades)}
    for item in grades:
        subsets.setdefault(item.question.category, []).append(item)
    turns = sorted({item.turn for item in grades})
    results = []
    for subset, members in subsets.items():
        by_metric = {f"grade_turn_{t}": [m for m in members if m.turn == t] for t in turns}
        if len(turns) > 1:
            by_metric = {"grade": members, **by_metric}
        for metric, chosen in by_metric.items():
            means = np.array(_question_means(chosen), dtype=np.float64)
            low, high = (bootstrap_interval(means, seed) if len(means) else None) or (None, None)
            results.append(
                Result(
                    model=model,
                    benchmark=BENCHMARK,
                    metric=metric,
                    subset=subset,
                    value=float(means.mean()) if len(means) else None,
                    low=low,
                    high=high,
                    n=len(means),
                    judge=judge,
                    prompt_version=PROMPT_VERSION,
                    details={
                        "num_answers": len(chosen),
                        "num_unparseable": sum(item.grade is None for item in chosen),
                        **why_no_interval(len(means)),
                    },
                )
            )
    return results


def _question_means(grades: Sequence[Grade]) -> list[float]:
    """Of the questions of which every turn was graded."""
    by_question: dict[str, list[float | None]] = {}
    for item in grades:
        by_question.setdefault(item.question.prompt_id, []).append(item.grade)
    complete = [
        [g for g in question_grades if g is not None]
        for question_grades in by_question.values()
        if all(question_grades)
    ]
    return [float(np.mean(question_grades)) for question_grades in complete]


def _answer_id(question_id: str, model_id: str, turns: Sequence[str]) -> str:
    text = json.dumps([question_id, model_id, list(turns)])
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:22]


def _reference(row: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    choices = row.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise WrongShapeError("choices should be a list of {index, turns}")
    return id_of(row, "question_id"), texts_of(choices[0], "turns")
