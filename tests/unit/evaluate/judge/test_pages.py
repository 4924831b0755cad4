"""Verdicts as a person reads them."""

from nuggets_ray.evaluate.judge.judge import Answered, AnswerPair, Grade, PairVerdict
from nuggets_ray.evaluate.judge.pages import grade_page, pair_page
from nuggets_ray.evaluate.prompt_file import BenchmarkPrompt

PROMPT = BenchmarkPrompt("7", ("Which?\n# Not a heading", "And why?"), "koala")


def test_a_pair_is_shown_in_both_orders() -> None:
    pair = AnswerPair(PROMPT, "mine", "theirs", "golden", "gpt4")
    texts = ("golden's is better [[A]]", "no idea")
    page = pair_page("my-judge", [PairVerdict(pair, 1.0, None, texts)])
    lines = page.splitlines()
    assert lines[0] == "# golden against gpt4, judged by my-judge"
    assert "## Question 7 (koala): left out" in lines
    assert [line for line in lines if line.startswith("> ")] == [
        *("> Which?", "> # Not a heading", "> mine", "> theirs"),
        *("> golden's is better [[A]]", "> no idea"),
    ]
    assert "**A: golden, B: gpt4: the model wins**" in lines
    assert "**A: gpt4, B: golden: not to be read**" in lines
    flipped = pair_page("my-judge", [PairVerdict(pair, 1.0, 0.0, texts)])
    assert "## Question 7 (koala): 0.5 of 1 for golden" in flipped


def test_a_grade_is_shown_with_its_turn() -> None:
    answered = Answered("golden", PROMPT, ("first", ""))
    grades = [Grade(answered, 1, 8.5, "asked", "Good: [[8.5]]"), Grade(answered, 2, None)]
    lines = grade_page("my-judge", grades).splitlines()
    assert lines[0] == "# golden, graded by my-judge"
    assert "## Question 7 (koala), turn 1: 8.5 of 10" in lines
    assert "## Question 7 (koala), turn 2: not to be read" in lines
    assert "> Good: [[8.5]]" in lines and "> And why?" in lines and "> (nothing)" in lines
