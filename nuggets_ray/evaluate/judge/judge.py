"""Judging answers, whoever the judge is: pairs in both orders, and grades of single answers.

The judge is an `Ask`: an endpoint (endpoint.py) or a local model, either way with its
verdicts kept (cache.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from nuggets_ray.evaluate.judge.prompts import (
    Conversation,
    grade_prompt,
    pair_prompt,
    parse_grade,
    parse_winner,
)
from nuggets_ray.evaluate.prompt_file import BenchmarkPrompt

Ask = Callable[[Sequence[Conversation]], list[str]]
"""The judge's texts, one a conversation, in their order."""

MODEL_WINS, TIE, MODEL_LOSES = 1.0, 0.5, 0.0
_MODEL_IS_A = {"A": MODEL_WINS, "C": TIE, "B": MODEL_LOSES}
_MODEL_IS_B = {"B": MODEL_WINS, "C": TIE, "A": MODEL_LOSES}


@dataclass(frozen=True, slots=True)
class AnswerPair:
    """A model's answer to a prompt's first turn, and the reference's."""

    prompt: BenchmarkPrompt
    answer: str
    reference: str


@dataclass(frozen=True, slots=True)
class PairVerdict:
    """The verdict with the model's answer shown first and with it shown second: 1 the model wins,
    0.5 a tie, 0 it loses, None unparseable.
    """

    pair: AnswerPair
    shown_first: float | None
    shown_second: float | None

    @property
    def preference(self) -> float | None:
        """The mean of both orders; None unless both were parsed, since one alone has the bias of
        its order.
        """
        if self.shown_first is None or self.shown_second is None:
            return None
        return (self.shown_first + self.shown_second) / 2

    @property
    def is_flipped(self) -> bool:
        """Whether both were parsed and differ."""
        return self.preference is not None and self.shown_first != self.shown_second

    @property
    def num_unparseable(self) -> int:
        """How many of the two verdicts could not be parsed."""
        return (self.shown_first is None) + (self.shown_second is None)


@dataclass(frozen=True, slots=True)
class Grade:
    """The grade, 1 to 10, of a model's answer to one turn (from 1) of a question; None:
    unparseable.
    """

    question: BenchmarkPrompt
    turn: int
    grade: float | None


def judge_pairs(ask: Ask, pairs: Sequence[AnswerPair]) -> list[PairVerdict]:
    """Each pair judged in both orders."""
    conversations = []
    for pair in pairs:
        question = pair.prompt.turns[0]
        conversations.append(pair_prompt(question, pair.answer, pair.reference))
        conversations.append(pair_prompt(question, pair.reference, pair.answer))
    winners = [parse_winner(text) for text in ask(conversations)]
    return [
        PairVerdict(pair, _score(first, _MODEL_IS_A), _score(second, _MODEL_IS_B))
        for pair, first, second in zip(pairs, winners[::2], winners[1::2], strict=True)
    ]


def grade(
    ask: Ask,
    questions: Sequence[BenchmarkPrompt],
    answers: Sequence[Sequence[str]],
    references: Mapping[str, Sequence[str]],
) -> list[Grade]:
    """A grade a turn of each question, of its answers so far. `answers[i]` has a text for each turn
    of `questions[i]`; `references` {question id: a text a turn} of those judged with a reference.
    """
    turns = [(i, turn) for i, q in enumerate(questions) for turn in range(1, len(q.turns) + 1)]
    conversations = [
        grade_prompt(
            questions[i].turns[:turn],
            answers[i][:turn],
            references.get(questions[i].prompt_id, ())[:turn],
        )
        for i, turn in turns
    ]
    return [
        Grade(questions[i], turn, parse_grade(text))
        for (i, turn), text in zip(turns, ask(conversations), strict=True)
    ]


def _score(winner: str | None, scores: Mapping[str, float]) -> float | None:
    return None if winner is None else scores[winner]
