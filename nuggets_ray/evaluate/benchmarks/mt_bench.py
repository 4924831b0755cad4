"""MT-Bench: answers in its own file format, its reference answers, and grades by category.

grade_turn_1 (the paper's setting) and grade_turn_2 are means of the grades of that turn, `grade` of
all grades, as FastChat averages; all from 1 to 10. An unparseable grade is counted and left out.
"""

import hashlib
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
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
from nuggets_ray.evaluate.stats import bootstrap_interval, weighted_mean, why_no_interval

logger = logging.getLogger(__name__)

BENCHMARK = "mt_bench"
REFERENCE_KEY = "evaluate.reference_path"
REFERENCE_CATEGORIES = ("math", "reasoning", "coding")
"""Judges are poor at these without a reference answer (arXiv 2306.05685)."""
TEMPERATURES = {
    **{"writing": 0.7, "roleplay": 0.7, "extraction": 0.0, "math": 0.0, "coding": 0.0},
    **{"reasoning": 0.0, "stem": 0.1, "humanities": 0.1},
}
"""FastChat's, by category."""
OTHER_TEMPERATURE = 0.7
WRONG_REFERENCES = {
    **{"104": "e8b0538e4f03", "105": "841fced0bfc6", "109": "89a03bd92c56", "111": "aa544a011f7d"},
    **{"113": "b79827647496", "114": "60ed982e13d4", "120": "362e59e38e70", "122": "a0b11f8cf93f"},
    **{"124": "61e2bd3d1ea0", "125": "9ca3bdaa459c", "126": "1ddc7b11c022", "128": "dd26a62ad041"},
    **{"130": "8858a645e806"},
}
"""{question id: the beginning of its turns' SHA-256}: answers of GPT-4's, published as references,
that are wrong in a turn at least (FastChat's pull request 3158)."""


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
            "question_id": _fastchat_id(q.prompt_id),
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


@dataclass(frozen=True, slots=True)
class GradingReferences:
    """{question id: a text a turn} of the questions judged with a reference, and the ids of those
    that are known to be wrong.
    """

    answers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    wrong: tuple[str, ...] = ()


def choose_references(questions: Sequence[BenchmarkPrompt], path: str | None) -> GradingReferences:
    """The reference answers of the file at `path` to the questions on maths, reasoning and coding.

    UserError where one of them has none; a warning where some are known to be wrong.
    """
    wanted = [q for q in questions if q.category in REFERENCE_CATEGORIES]
    if not wanted:
        return GradingReferences()
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
    wrong = wrong_references({q.prompt_id: references[q.prompt_id] for q in wanted})
    if wrong:
        logger.warning(
            "%s=%s: %d of the %d reference answers that are used are known to be wrong (questions "
            "%s; FastChat's pull request 3158): grades of these categories mislead, so give a file "
            "that is corrected",
            *(REFERENCE_KEY, path, len(wrong), len(wanted), ", ".join(wrong)),
        )
    answers = {q.prompt_id: references[q.prompt_id][: len(q.turns)] for q in wanted}
    return GradingReferences(answers, wrong)


def wrong_references(references: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The ids of those answers {question id: a text a turn} that are GPT-4's and known to be wrong,
    told by their text: a corrected one is another.
    """
    return tuple(
        question_id
        for question_id, turns in references.items()
        if WRONG_REFERENCES.get(question_id) == _hash("\n".join(turns))[:12]
    )


def temperatures(questions: Sequence[BenchmarkPrompt], given: float | None) -> dict[str, float]:
    """{category: the temperature at which its questions are answered}: the one that is given, else
    FastChat's.
    """
    categories = dict.fromkeys(question.category for question in questions)
    if given is not None:
        return dict.fromkeys(categories, given)
    return {name: TEMPERATURES.get(name, OTHER_TEMPERATURE) for name in categories}


def judgment_rows(grades: Sequence[Grade], judge: str, tstamp: float) -> list[dict[str, Any]]:
    """The grades as FastChat's model_judgment/*_single.jsonl has them; -1 for one that cannot be
    read. The name beside the judge's is that of our prompt, which is not FastChat's.
    """
    rows = []
    for item in grades:
        prompt = f"nuggets_ray-{PROMPT_VERSION}" + ("-multi-turn" if item.turn > 1 else "")
        rows.append(
            {
                "question_id": _fastchat_id(item.answered.question.prompt_id),
                "model": item.answered.model,
                "judge": [judge, prompt],
                "user_prompt": item.asked,
                "judgment": item.text,
                "score": -1 if item.grade is None else item.grade,
                "turn": item.turn,
                "tstamp": tstamp,
            }
        )
    return rows


def with_judgments(
    before: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """FastChat keeps one file a judge: the rows that are there, with the new ones in the place of
    those of the same question, model and turn.
    """

    def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return row["question_id"], row["model"], row["turn"]

    keys = {key(row) for row in new}
    return [*(row for row in before if key(row) not in keys), *new]


def grade_results(
    model: str, grades: Sequence[Grade], judge: str, seed: int, wrong: Collection[str] = ()
) -> list[Result]:
    """grade_turn_N, and with several turns `grade`, over all questions and a category each, with
    95% bootstrap intervals over questions; `n` counts the questions with a grade. A value is None
    where no grade could be parsed. `wrong`: ids of questions whose reference is.
    """
    subsets = {ALL: list(grades)}
    for item in grades:
        subsets.setdefault(item.answered.question.category, []).append(item)
    turns = sorted({item.turn for item in grades})
    results = []
    for subset, members in subsets.items():
        by_metric = {f"grade_turn_{t}": [m for m in members if m.turn == t] for t in turns}
        if len(turns) > 1:
            by_metric = {"grade": members, **by_metric}
        for metric, chosen in by_metric.items():
            mean_N, num_grades_N = _mean_and_number(chosen)
            bounds = bootstrap_interval(mean_N, seed, num_grades_N) if len(mean_N) else None
            low, high = bounds or (None, None)
            results.append(
                Result(
                    model=model,
                    benchmark=BENCHMARK,
                    metric=metric,
                    subset=subset,
                    value=weighted_mean(mean_N, num_grades_N) if len(mean_N) else None,
                    low=low,
                    high=high,
                    n=len(mean_N),
                    judge=judge,
                    prompt_version=PROMPT_VERSION,
                    details={
                        "num_answers": len(chosen),
                        "num_unparseable": sum(item.grade is None for item in chosen),
                        **_wrong_used(chosen, wrong),
                        **why_no_interval(len(mean_N)),
                    },
                )
            )
    return results


def question_means(grades: Sequence[Grade]) -> list[float | None]:
    """The mean grade of each question over its turns; None unless all were graded."""
    by_question: dict[str, list[float | None]] = {}
    for item in grades:
        by_question.setdefault(item.answered.question.prompt_id, []).append(item.grade)
    return [
        None if None in some else float(np.mean([one for one in some if one is not None]))
        for some in by_question.values()
    ]


def _wrong_used(grades: Sequence[Grade], wrong: Collection[str]) -> dict[str, int]:
    asked = {item.answered.question.prompt_id for item in grades}
    number = len(asked & set(wrong))
    return {"num_wrong_references": number} if number else {}


def _mean_and_number(grades: Sequence[Grade]) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each question's grades, and their number: (N,) each, of those with any."""
    by_question: dict[str, list[float]] = {}
    for item in grades:
        if item.grade is not None:
            by_question.setdefault(item.answered.question.prompt_id, []).append(item.grade)
    mean_N = np.array([np.mean(some) for some in by_question.values()], dtype=np.float64)
    return mean_N, np.array([len(some) for some in by_question.values()], dtype=np.float64)


def _answer_id(question_id: str, model_id: str, turns: Sequence[str]) -> str:
    return _hash(json.dumps([question_id, model_id, list(turns)]))[:22]


def _fastchat_id(question_id: str) -> int | str:
    return int(question_id) if question_id.isdecimal() else question_id


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _reference(row: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    choices = row.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise WrongShapeError("choices should be a list of {index, turns}")
    return id_of(row, "question_id"), texts_of(choices[0], "turns")
