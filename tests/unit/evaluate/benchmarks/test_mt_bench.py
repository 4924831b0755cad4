"""MT-Bench's files, the choice of reference answers, and grades by category and turn."""

import json
from pathlib import Path
from typing import Any

import pytest

from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.benchmarks.mt_bench import (
    WRONG_REFERENCES,
    GradingReferences,
    answer_rows,
    choose_references,
    grade_results,
    judgment_rows,
    question_means,
    read_reference_answers,
    temperatures,
    with_judgments,
    wrong_references,
)
from nuggets_ray.evaluate.judge.judge import Answered, Grade
from nuggets_ray.evaluate.judge.prompts import PROMPT_VERSION
from nuggets_ray.evaluate.prompt_file import BenchmarkPrompt, read_mt_bench_questions

WRITING = BenchmarkPrompt("81", ("Q1?", "Q2?"), "writing")
MATH = BenchmarkPrompt("111", ("Q3?", "Q4?"), "math")


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def graded(question: BenchmarkPrompt, turn: int, grade: float | None) -> Grade:
    answered = Answered("golden", question, ("a1", "a2"))
    return Grade(answered, turn, grade, f"asked of turn {turn}", f"[[{grade}]]")


def test_answer_rows_have_fastchat_s_shape(test_data: Path) -> None:
    folder = test_data / "evaluation"
    text = (folder / "mt_bench_reference_gpt4.jsonl").read_text("utf-8")
    published = {row["question_id"]: row for row in map(json.loads, text.splitlines())}
    questions = read_mt_bench_questions(str(folder / "mt_bench_question.jsonl"), None, 2)
    questions = [q for q in questions if int(q.prompt_id) in published]
    assert len(questions) == 30
    answers = [published[int(q.prompt_id)]["choices"][0]["turns"] for q in questions]
    for row in answer_rows(questions, answers, "gpt-4", 1.5):
        expected = published[row["question_id"]]
        assert list(row) == list(expected)
        changed = {"answer_id": row["answer_id"], "tstamp": 1.5}
        assert row == {**expected, **changed}
        assert len(row["answer_id"]) == len(expected["answer_id"])


def test_an_answer_id_is_that_of_model_question_and_answer() -> None:
    def answer_id(question: BenchmarkPrompt, answers: list[str], model: str, tstamp: float) -> str:
        [row] = answer_rows([question], [answers], model, tstamp)
        return str(row["answer_id"])

    first = answer_id(WRITING, ["a", "b"], "golden", 0.0)
    assert answer_id(WRITING, ["a", "b"], "golden", 9.0) == first
    others = {
        answer_id(WRITING, ["a", "c"], "golden", 0.0),
        answer_id(WRITING, ["a", "b"], "base", 0.0),
        answer_id(MATH, ["a", "b"], "golden", 0.0),
    }
    assert len(others - {first}) == 3


def test_an_id_that_is_no_number_stays_a_text() -> None:
    [row] = answer_rows([BenchmarkPrompt("own-1", ("Q?",), "writing")], [["a"]], "golden", 0.0)
    assert row["question_id"] == "own-1"


def test_references_are_for_maths_reasoning_and_coding(tmp_path: Path) -> None:
    rows = answer_rows([WRITING, MATH], [["w1", "w2"], ["m1", "m2"]], "gpt-4", 0.0)
    path = write(tmp_path / "r.jsonl", rows)
    assert read_reference_answers(path) == {"81": ("w1", "w2"), "111": ("m1", "m2")}
    assert choose_references([WRITING, MATH], path).answers == {"111": ("m1", "m2")}
    first_turn_alone = BenchmarkPrompt("111", ("Q3?",), "math")
    assert choose_references([first_turn_alone], path).answers == {"111": ("m1",)}
    assert choose_references([WRITING], None) == GradingReferences()


def test_a_missing_reference_answer_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="evaluate.reference_path is missing: 1 questions on math"):
        choose_references([WRITING, MATH], None)
    path = write(tmp_path / "r.jsonl", answer_rows([MATH], [["only one turn"]], "gpt-4", 0.0))
    with pytest.raises(UserError, match=r"evaluate.reference_path=.*question 111 \(math\)"):
        choose_references([MATH], path)


@pytest.mark.parametrize("choices", [None, [], ["text"], [{"index": 0}], [{"turns": [1]}]])
def test_other_reference_files_are_refused(tmp_path: Path, choices: object) -> None:
    path = write(tmp_path / "r.jsonl", [{"question_id": 1, "choices": choices}])
    with pytest.raises(UserError, match=r"evaluate.reference_path=.*(choices|turns) should be"):
        read_reference_answers(path)


def test_grades_by_category_and_turn() -> None:
    other = BenchmarkPrompt("82", ("Q5?", "Q6?"), "writing")
    grades = [
        *(graded(WRITING, 1, 8.0), graded(WRITING, 2, 4.0)),
        *(graded(MATH, 1, 3.0), graded(MATH, 2, None)),
        *(graded(other, 1, 2.0), graded(other, 2, 2.0)),
    ]
    results = grade_results("golden", grades, "judge", seed=0)
    found = {(r.metric, r.subset): (r.value, r.n) for r in results}
    assert found == {
        ("grade", "all"): (pytest.approx(19 / 5), 3),
        ("grade_turn_1", "all"): (pytest.approx(13 / 3), 3),
        ("grade_turn_2", "all"): (3.0, 2),
        ("grade", "writing"): (4.0, 2),
        ("grade_turn_1", "writing"): (5.0, 2),
        ("grade_turn_2", "writing"): (3.0, 2),
        ("grade", "math"): (3.0, 1),
        ("grade_turn_1", "math"): (3.0, 1),
        ("grade_turn_2", "math"): (None, 0),
    }
    by_key = {(r.metric, r.subset): r for r in results}
    assert by_key["grade", "all"].details == {
        **{"num_answers": 6, "num_unparseable": 1},
        "no_interval": "too few for an interval",
    }
    assert by_key["grade", "all"].low is None
    assert {(r.model, r.benchmark, r.judge) for r in results} == {("golden", "mt_bench", "judge")}
    assert {r.prompt_version for r in results} == {PROMPT_VERSION}


def test_the_first_turn_alone_has_one_metric() -> None:
    results = grade_results("golden", [graded(MATH, 1, 6.0), graded(WRITING, 1, 7.0)], "judge", 0)
    assert {r.metric for r in results} == {"grade_turn_1"}


def test_the_average_is_of_all_grades_as_fastchat_takes_it() -> None:
    """Its show_result averages every row whose score is not -1."""
    grades = [graded(WRITING, 1, 8.0), graded(WRITING, 2, 4.0), graded(MATH, 1, 3.0)]
    grades.append(graded(MATH, 2, None))
    rows = judgment_rows(grades, "judge", 0.0)
    known = [row["score"] for row in rows if row["score"] != -1]
    [result] = [
        r
        for r in grade_results("golden", grades, "judge", 0)
        if (r.metric, r.subset) == ("grade", "all")
    ]
    assert result.value == pytest.approx(sum(known) / len(known)) == 5.0
    assert question_means(grades) == [6.0, None], "what a paired test can take"


def test_judgments_have_fastchat_s_fields() -> None:
    rows = judgment_rows([graded(MATH, 1, None), graded(MATH, 2, 7.0)], "the judge", 1.5)
    assert rows[0] == {
        **{"question_id": 111, "model": "golden", "judge": ["the judge", rows[0]["judge"][1]]},
        **{"user_prompt": "asked of turn 1", "judgment": "[[None]]", "score": -1, "turn": 1},
        "tstamp": 1.5,
    }
    assert (rows[1]["score"], rows[1]["turn"]) == (7.0, 2)
    names = [row["judge"][1] for row in rows]
    assert names == [f"nuggets_ray-{PROMPT_VERSION}", f"nuggets_ray-{PROMPT_VERSION}-multi-turn"]


def test_new_judgments_take_the_place_of_their_own_alone() -> None:
    before = judgment_rows([graded(MATH, 1, 2.0), graded(MATH, 2, 3.0)], "judge", 0.0)
    other = [{**row, "model": "base"} for row in before]
    new = judgment_rows([graded(MATH, 1, 9.0)], "judge", 1.0)
    assert with_judgments([*before, *other], new) == [before[1], *other, *new]
    assert with_judgments([], new) == new


def test_answers_are_as_warm_as_fastchat_s() -> None:
    own = BenchmarkPrompt("1", ("Q?",), "songs")
    assert temperatures([WRITING, MATH, MATH, own], None) == {
        **{"writing": 0.7, "math": 0.0, "songs": 0.7}
    }
    assert temperatures([WRITING, MATH], 0.2) == {"writing": 0.2, "math": 0.2}
    assert temperatures([WRITING], 0.0) == {"writing": 0.0}, "greedy is a temperature too"


def test_published_references_that_are_wrong_are_told(
    test_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = test_data / "evaluation"
    path = str(folder / "mt_bench_reference_gpt4.jsonl")
    questions = read_mt_bench_questions(str(folder / "mt_bench_question.jsonl"), None, 1)
    references = choose_references(questions, path)
    assert len(references.answers) == 30 and references.wrong == tuple(WRONG_REFERENCES)
    assert "13 of the 30 reference answers that are used are known to be wrong" in caplog.text
    assert all(len(turns) == 1 for turns in references.answers.values())
    caplog.clear()
    assert choose_references([MATH], path).wrong == ("111",)
    right = {"104": ("David has none.", "One."), "111": ("3", "5 pi")}
    assert wrong_references(right) == ()


def test_grades_say_how_many_references_were_wrong() -> None:
    results = grade_results(
        "golden", [graded(MATH, 1, 6.0), graded(WRITING, 1, 7.0)], "judge", 0, ["111", "104"]
    )
    told = {r.subset: r.details.get("num_wrong_references") for r in results}
    assert told == {"all": 1, "math": 1, "writing": None}
