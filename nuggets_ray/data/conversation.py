"""Messages as they stand in a row -> the conversation in its canonical shape, or why there is none.

Turns of one role in a row (user, assistant) become one turn, joined by a line break; what follows
the last answer is dropped; an empty system turn is no turn. What the assistant says before the
first question (a greeting) is context, not an answer.
"""

from collections.abc import Sequence
from dataclasses import replace

from nuggets_ray.data.values import SkipRow, check_unicode
from nuggets_ray.records import Message


def canonical(turns: Sequence[Message]) -> tuple[Message, ...]:
    """The conversation, which ends with an answer. Raises SkipRow: no_assistant_turn, no_user_turn,
    no_turn_trains (every answer is flagged not to), empty_instruction, empty_answer,
    invalid_unicode (lone surrogates).
    """
    kept = _merged(turns)
    roles = [turn.role for turn in kept]
    if "assistant" not in roles:
        raise SkipRow("no_assistant_turn")
    if "user" not in roles:
        raise SkipRow("no_user_turn")
    first = roles.index("user")
    kept = [*_as_greeting(kept[:first]), *kept[first:]]
    while kept and not kept[-1].is_answer:
        kept.pop()
    if not kept:
        has_answer = "assistant" in roles[first:]
        raise SkipRow("no_turn_trains" if has_answer else "no_assistant_turn")
    for turn in kept:
        if turn.role == "user" and not turn.content:
            raise SkipRow("empty_instruction")
        if turn.is_answer and not turn.content and not turn.tool_calls:
            raise SkipRow("empty_answer")
        _check_unicode(turn)
    return tuple(kept)


def has_greeting(messages: Sequence[Message]) -> bool:
    """Whether the assistant speaks before the first question."""
    for message in messages:
        if message.role == "user":
            return False
        if message.role == "assistant":
            return True
    return False


def _merged(turns: Sequence[Message]) -> list[Message]:
    kept: list[Message] = []
    for turn in turns:
        if turn.role == "system" and not turn.content:
            continue
        if kept and kept[-1].role == turn.role and _can_merge(kept[-1], turn):
            before = kept.pop()
            texts = (before.content, turn.content)
            text = "\n".join(text for text in texts if text)
            turn = replace(turn, text=text, input="", reasoning=before.reasoning)
        kept.append(turn)
    return kept


def _can_merge(before: Message, turn: Message) -> bool:
    """Whether two turns of one role read on as one: nothing but text stands between their texts."""
    if turn.role == "assistant":
        return before.trains == turn.trains and not before.tool_calls and not turn.reasoning
    return turn.role == "user"


def _as_greeting(turns: Sequence[Message]) -> list[Message]:
    """The turns before the first question, of which none is an answer."""
    return [
        replace(turn, trains=False) if turn.role == "assistant" else turn
        for turn in turns
        if turn.role != "assistant" or turn.content or turn.tool_calls
    ]


def _check_unicode(turn: Message) -> None:
    check_unicode(turn.content, turn.reasoning)
    for call in turn.tool_calls:
        check_unicode(call.name, call.arguments)
