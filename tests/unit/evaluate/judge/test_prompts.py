"""What judges are asked, and that only a clear verdict is read as one."""

import pytest

from nuggets_ray.evaluate.judge.prompts import grade_prompt, pair_prompt, parse_grade, parse_winner


@pytest.mark.parametrize(
    "verdict, winner",
    [
        ("A is clearer. [[A]]", "A"),
        ("[[B]]", "B"),
        ("Both fail.\n[[C]]\n", "C"),
        ("[[ B ]]", "B"),
        ("[[A]] it is, so [[A]]", "A"),
        ("I began with [[A]], but it is [[B]]", "B"),
        ("[A]", None),
        ("A", None),
        ("[[D]]", None),
        ("[[a]]", None),
        ("[[A", None),
        ("", None),
    ],
)
def test_a_winner(verdict: str, winner: str | None) -> None:
    assert parse_winner(verdict) == winner


@pytest.mark.parametrize(
    "verdict, grade",
    [
        ("Grade: [[7]]", 7.0),
        ("[[10]]", 10.0),
        ("[[1]]", 1.0),
        ("[[7.5]]", 7.5),
        ("[[7]], as I said: [[7.0]]", 7.0),
        ("[[5]] would be mean: [[6]]", 6.0),
        ("Grade: [5]", 5.0),
        ("[5] of 10, no: [6]", 6.0),
        ("[[7]], see [2]", 7.0),
        ("[[0]]", None),
        ("[[11]]", None),
        ("[[-3]]", None),
        ("[[7/10]]", None),
        ("[[grade]]", None),
        ("7", None),
        ("", None),
    ],
)
def test_a_grade(verdict: str, grade: float | None) -> None:
    assert parse_grade(verdict) == grade


def test_a_pair_prompt_shows_the_answers_in_their_order() -> None:
    system, user = pair_prompt("Which {way}?", "left [[A]]", "right")
    assert [system.role, user.role] == ["system", "user"]
    positions = [user.text.index(part) for part in ("Which {way}?", "left [[A]]", "right")]
    assert positions == sorted(positions)
    assert all(f"[[{letter}]]" in system.text for letter in "ABC")
    assert user.text.index("assistant A") < user.text.index("left [[A]]")
    assert user.text.index("left [[A]]") < user.text.index("assistant B: start")


def test_a_grade_prompt_of_the_second_turn_shows_both() -> None:
    _, user = grade_prompt(["Q one?", "Q two?"], ["A one.", "A two."])
    positions = [user.text.index(part) for part in ("Q one?", "A one.", "Q two?", "A two.")]
    assert positions == sorted(positions)
    assert "last question only" in user.text and "eference" not in user.text
    assert "last question only" not in grade_prompt(["Q one?"], ["A one."])[1].text


def test_a_grade_prompt_with_references_shows_them_before_the_answers() -> None:
    _, user = grade_prompt(["Q one?", "Q two?"], ["A one.", "A two."], ["R one.", "R two."])
    parts = ("Q one?", "R one.", "Q two?", "R two.", "A one.", "A two.")
    positions = [user.text.index(part) for part in parts]
    assert positions == sorted(positions)
    assert all(user.text.count(part) == 1 for part in parts)
    with pytest.raises(ValueError):
        grade_prompt(["Q one?", "Q two?"], ["A one.", "A two."], ["R one."])
