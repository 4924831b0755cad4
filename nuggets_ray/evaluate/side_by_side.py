"""answers.md: what every model answers to a few held-out prompts, beside the row's own answer."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from nuggets_ray.evaluate.generate.answer import Answer
from nuggets_ray.records import Message

T = TypeVar("T")
Messages = Sequence[Message]


def spread(rows: Sequence[T], num: int) -> list[T]:
    """At most `num` of the rows, spread over them, so that they are of several kinds."""
    num = min(num, len(rows))
    return [rows[i * len(rows) // num] for i in range(num)]


def until_first_answer(messages: Messages) -> Messages:
    """What is asked before the first answer of a conversation."""
    first = next(i for i, message in enumerate(messages) if message.is_answer)
    return messages[:first]


def format_answers(
    conversations: Sequence[Messages], answers: Mapping[str, Sequence[Answer | str]]
) -> str:
    """The page: for each conversation what is asked, its own first answer, and that of each model
    of {name: an answer a conversation, or the reason why there is none}.
    """
    lines = []
    for index, messages in enumerate(conversations):
        prompt = until_first_answer(messages)
        asked = "\n".join(message.content for message in prompt)
        lines += [f"## {asked}", f"the row's own answer: {messages[len(prompt)].content}"]
        for name, given in answers.items():
            answer = given[index]
            if isinstance(answer, str):
                lines.append(f"{name}: (none: {answer})")
            else:
                lines.append(f"{name}: {answer.text}{' [cut]' if answer.is_cut else ''}")
        lines.append("")
    return "\n\n".join(lines) + "\n"
