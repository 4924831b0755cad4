"""Answers of all models side by side."""

import pytest

from nuggets_ray.evaluate.generate.answer import Answer
from nuggets_ray.evaluate.side_by_side import (
    format_answers,
    side_by_side,
    spread,
    until_first_answer,
)
from nuggets_ray.records import Message


def conversation(number: int) -> tuple[Message, ...]:
    return (Message("user", f"Ask {number}?"), Message("assistant", f"It is {number}."))


@pytest.mark.parametrize(
    ("num", "expected"), [(2, [0, 4]), (5, [0, 1, 3, 4, 6]), (8, [*range(8)]), (50, [*range(8)])]
)
def test_no_row_is_shown_twice(num: int, expected: list[int]) -> None:
    assert spread(range(8), num) == expected


def test_each_conversation_shows_every_answer() -> None:
    answers = {
        name: ["no room", Answer(f"{name} on 1", 1, True), Answer("whole", 1, False)]
        for name in ("base", "golden")
    }
    shown = format_answers(side_by_side([conversation(i) for i in range(3)], answers)).split("## ")[
        1:
    ]
    assert [block.splitlines()[0] for block in shown] == ["Ask 0?", "Ask 1?", "Ask 2?"]
    assert "base: (none: no room)" in shown[0]
    assert "golden: golden on 1 [cut]" in shown[1]
    assert "base: whole\n" in shown[2] and "[cut]" not in shown[2]
    assert "the row's own answer: It is 1." in shown[1]


def test_what_is_asked_ends_at_the_first_answer() -> None:
    system = Message("system", "Be brief.")
    asked = (system, Message("user", "One?"))
    whole = (*asked, Message("assistant", "1"), Message("user", "Two?"), Message("assistant", "2"))
    assert until_first_answer(whole) == asked
    greeting = Message("assistant", "Hello!", trains=False)
    assert until_first_answer((greeting, *whole)) == (greeting, *asked)
    page = format_answers(side_by_side([whole], {"base": [Answer("I", 1, False)]}))
    assert page.startswith("## Be brief.\nOne?\n\nthe row's own answer: 1\n\nbase: I\n")


def test_the_same_for_programs() -> None:
    answers = {"base": [Answer("I", 1, True)], "golden": ["too long"]}
    (shown,) = side_by_side([conversation(0)], answers)
    assert shown["answers"] == {"base": "I [cut]", "golden": "(none: too long)"}
    assert shown["asked"] in format_answers([shown])
