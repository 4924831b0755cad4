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

MODEL_WINS, TIE, MODEL_LOSES = 1.0, 0.5, 0.0
_MODEL_IS_A = {"A": MODEL_WINS, "C": TIE, "B": MODEL_LOSES}
_MODEL_IS_B = {"B": MODEL_WINS, "C": TIE, "A": MODEL_LOSES}


@dataclass(frozen=True, slots=True)
class About:
    """Whose answers a verdict is about: those of `models`, in the order that the judge sees them,
    to turn `turn` (from 1) of a question of `prompt_set` (BENCHMARK/NAME).
    """

    prompt_set: str
    question_id: str
    turn: int
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JudgeTask:
    """What a judge is sent, and what it is about."""

    conversation: Conversation
    about: About


Ask = Callable[[Sequence[JudgeTask]], list[str]]
"""The judge's texts, one a task, in their order."""


@dataclass(frozen=True, slots=True)
class AnswerPair:
    """A model's answer to a prompt's first turn, and the reference's, which `against` wrote."""

    prompt: BenchmarkPrompt
    answer: str
    reference: str
    model: str
    against: str


@dataclass(frozen=True, slots=True)
class PairVerdict:
    """The verdict with the model's answer shown first and with it shown second: 1 the model wins,
    0.5 a tie, 0 it loses, None unparseable. `texts`: the judge's words in the two orders.
    """

    pair: AnswerPair
    shown_first: float | None
    shown_second: float | None
    texts: tuple[str, str] = ("", "")

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
class Answered:
    """What a model answers to a question, a text a turn."""

    model: str
    question: BenchmarkPrompt
    turns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grade:
    """The grade, 1 to 10, of one turn (from 1) of a model's answers; None: unparseable. `asked` is
    what the judge was told of it, `text` what it said.
    """

    answered: Answered
    turn: int
    grade: float | None
    asked: str = ""
    text: str = ""


def judge_pairs(ask: Ask, pairs: Sequence[AnswerPair], prompt_set: str) -> list[PairVerdict]:
    """Each pair judged in both orders."""
    tasks = []
    for pair in pairs:
        question = pair.prompt.turns[0]
        first, second = (pair.model, pair.answer), (pair.against, pair.reference)
        for (model_a, answer_a), (model_b, answer_b) in ((first, second), (second, first)):
            about = About(prompt_set, pair.prompt.prompt_id, 1, (model_a, model_b))
            tasks.append(JudgeTask(pair_prompt(question, answer_a, answer_b), about))
    texts = ask(tasks)
    return [
        PairVerdict(
            pair,
            _score(parse_winner(first), _MODEL_IS_A),
            _score(parse_winner(second), _MODEL_IS_B),
            (first, second),
        )
        for pair, first, second in zip(pairs, texts[::2], texts[1::2], strict=True)
    ]


def grade(
    ask: Ask,
    answered: Sequence[Answered],
    references: Mapping[str, Sequence[str]],
    prompt_set: str,
) -> list[Grade]:
    """A grade a turn of each, of the answers so far; `references` {question id: a text a turn} of
    those judged with a reference.
    """
    turns = [(one, turn) for one in answered for turn in range(1, len(one.question.turns) + 1)]
    tasks = [
        JudgeTask(
            grade_prompt(
                one.question.turns[:turn],
                one.turns[:turn],
                references.get(one.question.prompt_id, ())[:turn],
            ),
            About(prompt_set, one.question.prompt_id, turn, (one.model,)),
        )
        for one, turn in turns
    ]
    return [
        Grade(one, turn, parse_grade(text), task.conversation[-1].text, text)
        for (one, turn), task, text in zip(turns, tasks, ask(tasks), strict=True)
    ]


def _score(winner: str | None, scores: Mapping[str, float]) -> float | None:
    return None if winner is None else scores[winner]
