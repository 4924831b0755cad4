"""answers.md and answers.json: what every model answers to a few held-out prompts, beside the row's
own answer.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from nuggets_ray.evaluate.generate.answer import Answer
from nuggets_ray.records import Message

T = TypeVar("T")
Messages = Sequence[Message]
SideBySide = dict[str, Any]
"""{asked, own_answer, answers: {model: text}}"""


def spread(rows: Sequence[T], num: int) -> list[T]:
    """At most `num` of the rows, spread over them, so that they are of several kinds."""
    num = min(num, len(rows))
    return [rows[i * len(rows) // num] for i in range(num)]


def until_first_answer(messages: Messages) -> Messages:
    """What is asked before the first answer of a conversation."""
    first = next(i for i, message in enumerate(messages) if message.is_answer)
    return messages[:first]


def side_by_side(
    conversations: Sequence[Messages], answers: Mapping[str, Sequence[Answer | str]]
) -> list[SideBySide]:
    """For each conversation what is asked, its own first answer, and that of each model of {name:
    an answer a conversation, or the reason why there is none}.
    """
    shown: list[SideBySide] = []
    for index, messages in enumerate(conversations):
        prompt = until_first_answer(messages)
        shown.append(
            {
                "asked": "\n".join(message.content for message in prompt),
                "own_answer": messages[len(prompt)].content,
                "answers": {name: _answer_text(given[index]) for name, given in answers.items()},
            }
        )
    return shown


def _answer_text(answer: Answer | str) -> str:
    if isinstance(answer, str):
        return f"(none: {answer})"
    return f"{answer.text}{' [cut]' if answer.is_cut else ''}"


def format_answers(shown: Sequence[SideBySide]) -> str:
    """The page for people."""
    lines = []
    for one in shown:
        lines += [f"## {one['asked']}", f"the row's own answer: {one['own_answer']}"]
        lines += [f"{name}: {text}" for name, text in one["answers"].items()]
        lines.append("")
    return "\n\n".join(lines) + "\n"
