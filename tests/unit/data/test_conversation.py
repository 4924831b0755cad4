"""The canonical shape of a conversation: merged turns, its end, greetings, flags."""

import pytest

from nuggets_ray.data.conversation import canonical, has_greeting
from nuggets_ray.data.values import SkipRow
from nuggets_ray.records import Message, ToolCall


def said(text: str, **more: object) -> Message:
    return Message("assistant", text, **more)  # type: ignore[arg-type]


def ask(text: str) -> Message:
    return Message("user", text)


CALL = (ToolCall("f", "{}"),)


def test_turns_of_one_role_become_one_turn() -> None:
    assert canonical([ask("q"), ask(""), ask("r"), said("a"), said("b")]) == (
        ask("q\nr"),
        said("a\nb"),
    )
    assert canonical([Message("system", " "), ask("q"), said("a")]) == (ask("q"), said("a"))


def test_turns_between_whose_texts_something_stands_stay_apart() -> None:
    called = [ask("q"), said("a", tool_calls=CALL), said("b")]
    assert canonical(called) == tuple(called)
    thought = [ask("q"), said("a"), said("b", reasoning="r")]
    assert canonical(thought) == tuple(thought)
    flagged = [ask("q"), said("a", trains=False), said("b")]
    assert canonical(flagged) == tuple(flagged)
    merged = canonical([ask("q"), said("a", reasoning="r"), said("b", tool_calls=CALL)])
    assert merged == (ask("q"), said("a\nb", reasoning="r", tool_calls=CALL))


def test_what_follows_the_last_answer_is_dropped() -> None:
    assert canonical([ask("q"), said("a"), ask("r")]) == (ask("q"), said("a"))
    flagged = [ask("q"), said("a"), ask("r"), said("b", trains=False)]
    assert canonical(flagged) == (ask("q"), said("a"))
    wrong_first = [ask("q"), said("b", trains=False), ask("no"), said("a")]
    assert canonical(wrong_first) == tuple(wrong_first)


def test_a_greeting_is_context() -> None:
    turns = [Message("system", "s"), said("Welcome!"), ask("q"), said("a")]
    kept = canonical(turns)
    assert kept == (turns[0], said("Welcome!", trains=False), *turns[2:])
    assert has_greeting(kept) and not has_greeting(canonical(turns[2:]))
    assert canonical([said(" "), *turns[2:]]) == tuple(turns[2:]), "an empty one is no turn"


def test_a_call_is_an_answer_without_text() -> None:
    assert canonical([ask("q"), said("", tool_calls=CALL)])[-1].tool_calls == CALL


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([], "no_assistant_turn"),
        ([ask("q")], "no_assistant_turn"),
        ([said("a")], "no_user_turn"),
        ([said("a"), ask("q")], "no_assistant_turn"),
        ([ask("q"), said("a", trains=False)], "no_turn_trains"),
        ([ask(" "), said("a")], "empty_instruction"),
        ([ask("q"), said(" ")], "empty_answer"),
        ([ask("q"), said("", reasoning="r")], "empty_answer"),
        ([ask("q"), said("a", reasoning="\ud800")], "invalid_unicode"),
        ([ask("q"), said("a", tool_calls=(ToolCall("f", "\ud800"),))], "invalid_unicode"),
    ],
)
def test_what_is_no_conversation(turns: list[Message], reason: str) -> None:
    with pytest.raises(SkipRow, match=f"^{reason}$"):
        canonical(turns)
