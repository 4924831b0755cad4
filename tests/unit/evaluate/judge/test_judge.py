"""Judging by made-up judges whose likings are known."""

from collections.abc import Sequence

import pytest

from nuggets_ray.evaluate.judge.judge import (
    About,
    Answered,
    AnswerPair,
    JudgeTask,
    PairVerdict,
    grade,
    judge_pairs,
)
from nuggets_ray.evaluate.prompt_file import BenchmarkPrompt

SET = "alpaca_eval/koala"
PROMPT = BenchmarkPrompt("0", ("Which?",), "koala")
PAIRS = [
    AnswerPair(PROMPT, "good", "bad", "golden", "gpt4"),
    AnswerPair(PROMPT, "bad", "good", "base", "gpt4"),
]


def likes_good(tasks: Sequence[JudgeTask]) -> list[str]:
    texts = [task.conversation[-1].text for task in tasks]
    return ["[[A]]" if text.index("good") < text.index("bad") else "[[B]]" for text in texts]


def likes_the_first(tasks: Sequence[JudgeTask]) -> list[str]:
    return ["[[A]]"] * len(tasks)


def ties(tasks: Sequence[JudgeTask]) -> list[str]:
    return ["[[C]]"] * len(tasks)


def mumbles_second(tasks: Sequence[JudgeTask]) -> list[str]:
    return ["[[A]]" if i % 2 == 0 else "hm" for i in range(len(tasks))]


def test_the_better_answer_wins_in_both_orders() -> None:
    verdicts = judge_pairs(likes_good, PAIRS, SET)
    assert [(v.shown_first, v.shown_second, v.preference) for v in verdicts] == [
        (1.0, 1.0, 1.0),
        (0.0, 0.0, 0.0),
    ]
    assert not any(v.is_flipped for v in verdicts)


def test_a_liking_for_the_first_is_a_tie_that_flips() -> None:
    for verdict in judge_pairs(likes_the_first, PAIRS, SET):
        assert (verdict.shown_first, verdict.shown_second) == (1.0, 0.0)
        assert verdict.preference == 0.5 and verdict.is_flipped


def test_ties_do_not_flip() -> None:
    for verdict in judge_pairs(ties, PAIRS, SET):
        assert verdict.preference == 0.5 and not verdict.is_flipped


def test_an_unparseable_verdict_gives_no_preference() -> None:
    for verdict in judge_pairs(mumbles_second, PAIRS, SET):
        assert verdict.preference is None
        assert verdict.num_unparseable == 1 and not verdict.is_flipped


def test_a_tie_and_a_win_are_in_between() -> None:
    verdict = PairVerdict(PAIRS[0], shown_first=1.0, shown_second=0.5)
    assert verdict.preference == 0.75 and verdict.is_flipped


def test_a_judge_with_too_few_verdicts_is_an_error() -> None:
    with pytest.raises(ValueError):
        judge_pairs(lambda tasks: ["[[A]]"], PAIRS, SET)


def test_grades_of_each_turn() -> None:
    seen = []

    def ask(tasks: Sequence[JudgeTask]) -> list[str]:
        seen.extend(task.conversation[-1].text for task in tasks)
        return [f"[[{n}]]" for n in range(3, 3 + len(tasks))]

    questions = [
        BenchmarkPrompt("81", ("Q1?", "Q2?"), "writing"),
        BenchmarkPrompt("101", ("Q3?", "Q4?"), "math"),
    ]
    answered = [
        Answered("golden", questions[0], ("a1", "a2")),
        Answered("golden", questions[1], ("a3", "a4")),
    ]
    grades = grade(ask, answered, {"101": ("r3", "r4")}, "mt_bench/question")
    assert [(g.answered.question.prompt_id, g.turn, g.grade) for g in grades] == [
        ("81", 1, 3.0),
        ("81", 2, 4.0),
        ("101", 1, 5.0),
        ("101", 2, 6.0),
    ]
    assert "a1" in seen[0] and "a2" not in seen[0] and "Q2?" not in seen[0]
    assert "a1" in seen[1] and "a2" in seen[1] and "r3" not in seen[1]
    assert "r3" in seen[2] and "r4" not in seen[2]
    assert "r3" in seen[3] and "r4" in seen[3]
    assert [g.asked for g in grades] == seen
    assert [g.text for g in grades] == ["[[3]]", "[[4]]", "[[5]]", "[[6]]"]


def test_an_unparseable_grade_is_none() -> None:
    question = BenchmarkPrompt("1", ("Q?",), "writing")
    answered = Answered("golden", question, ("a",))
    [found] = grade(lambda tasks: ["very good"], [answered], {}, "mt_bench/question")
    assert found.grade is None


def test_a_judge_is_told_apart_by_question_models_and_order() -> None:
    about: list[About] = []

    def ask(tasks: Sequence[JudgeTask]) -> list[str]:
        about.extend(task.about for task in tasks)
        return [f"[[A]] {index}" for index in range(len(tasks))]

    verdicts = judge_pairs(ask, PAIRS, SET)
    assert [(one.prompt_set, one.question_id, one.models) for one in about] == [
        (SET, "0", ("golden", "gpt4")),
        (SET, "0", ("gpt4", "golden")),
        (SET, "0", ("base", "gpt4")),
        (SET, "0", ("gpt4", "base")),
    ]
    assert [verdict.texts for verdict in verdicts] == [
        ("[[A]] 0", "[[A]] 1"),
        ("[[A]] 2", "[[A]] 3"),
    ]
