"""Judging by made-up judges whose likings are known."""

from collections.abc import Sequence

import pytest

from nuggets_ray.evaluate.judge.judge import AnswerPair, PairVerdict, grade, judge_pairs
from nuggets_ray.evaluate.judge.prompts import Conversation
from nuggets_ray.evaluate.prompt_file import BenchmarkPrompt

PROMPT = BenchmarkPrompt("0", ("Which?",), "koala")
PAIRS = [AnswerPair(PROMPT, "good", "bad"), AnswerPair(PROMPT, "bad", "good")]


def likes_good(conversations: Sequence[Conversation]) -> list[str]:
    texts = [conversation[-1].text for conversation in conversations]
    return ["[[A]]" if text.index("good") < text.index("bad") else "[[B]]" for text in texts]


def likes_the_first(conversations: Sequence[Conversation]) -> list[str]:
    return ["[[A]]"] * len(conversations)


def ties(conversations: Sequence[Conversation]) -> list[str]:
    return ["[[C]]"] * len(conversations)


def mumbles_second(conversations: Sequence[Conversation]) -> list[str]:
    return ["[[A]]" if i % 2 == 0 else "hm" for i in range(len(conversations))]


def test_the_better_answer_wins_in_both_orders() -> None:
    verdicts = judge_pairs(likes_good, PAIRS)
    assert [(v.shown_first, v.shown_second, v.preference) for v in verdicts] == [
        (1.0, 1.0, 1.0),
        (0.0, 0.0, 0.0),
    ]
    assert not any(v.is_flipped for v in verdicts)


def test_a_liking_for_the_first_is_a_tie_that_flips() -> None:
    for verdict in judge_pairs(likes_the_first, PAIRS):
        assert (verdict.shown_first, verdict.shown_second) == (1.0, 0.0)
        assert verdict.preference == 0.5 and verdict.is_flipped


def test_ties_do_not_flip() -> None:
    for verdict in judge_pairs(ties, PAIRS):
        assert verdict.preference == 0.5 and not verdict.is_flipped


def test_an_unparseable_verdict_gives_no_preference() -> None:
    for verdict in judge_pairs(mumbles_second, PAIRS):
        assert verdict.preference is None
        assert verdict.num_unparseable == 1 and not verdict.is_flipped


def test_a_tie_and_a_win_are_in_between() -> None:
    verdict = PairVerdict(PAIRS[0], shown_first=1.0, shown_second=0.5)
    assert verdict.preference == 0.75 and verdict.is_flipped


def test_a_judge_with_too_few_verdicts_is_an_error() -> None:
    with pytest.raises(ValueError):
        judge_pairs(lambda conversations: ["[[A]]"], PAIRS)


def test_grades_of_each_turn() -> None:
    seen = []

    def ask(conversations: Sequence[Conversation]) -> list[str]:
        seen.extend(conversation[-1].text for conversation in conversations)
        return [f"[[{n}]]" for n in range(3, 3 + len(conversations))]

    questions = [
        BenchmarkPrompt("81", ("Q1?", "Q2?"), "writing"),
        BenchmarkPrompt("101", ("Q3?", "Q4?"), "math"),
    ]
    answers = [["a1", "a2"], ["a3", "a4"]]
    grades = grade(ask, questions, answers, {"101": ("r3", "r4")})
    assert [(g.question.prompt_id, g.turn, g.grade) for g in grades] == [
        ("81", 1, 3.0),
        ("81", 2, 4.0),
        ("101", 1, 5.0),
        ("101", 2, 6.0),
    ]
    assert "a1" in seen[0] and "a2" not in seen[0] and "Q2?" not in seen[0]
    assert "a1" in seen[1] and "a2" in seen[1] and "r3" not in seen[1]
    assert "r3" in seen[2] and "r4" not in seen[2]
    assert "r3" in seen[3] and "r4" in seen[3]


def test_an_unparseable_grade_is_none() -> None:
    question = BenchmarkPrompt("1", ("Q?",), "writing")
    [found] = grade(lambda conversations: ["very good"], [question], [["a"]], {})
    assert found.grade is None
