"""Damaged copies: each kind does what its name says, is seeded, and never equals a whole row."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nuggets_ray.demo.damage import DAMAGES, REFUSALS, add_damaged_copies

LANGUAGES = ("en", "es", "fr")
word = st.sampled_from(["a", "b", "dd", "é", "中"])
an_answer = st.lists(word, min_size=1, max_size=12).map(" ".join)


def make_row(instruction, output, language="en"):
    category = "facts" if language == "en" else "languages"
    fields = {"instruction": instruction, "input": "", "output": output}
    return {**fields, "category": category, "language": language}


def make_rows(num=30):
    return [
        make_row(f"q{i}", " ".join(f"w{i}.{k}" for k in range(10)), LANGUAGES[i % 3])
        for i in range(num)
    ]


def copies_of(rows, kind):
    result = add_damaged_copies(rows, seed=0, num_per_kind=4)
    pairs = [(rows[row["source_row"]], row) for row in result if row["damage"] == kind]
    assert len(pairs) == 4
    return pairs


def test_whole_rows_come_unchanged_and_before_their_copy():
    rows = make_rows()
    result = add_damaged_copies(rows, seed=0, num_per_kind=4)
    whole = [row for row in result if row["damage"] == "none"]
    assert whole == [{**row, "damage": "none", "source_row": i} for i, row in enumerate(rows)]
    for before, row in zip(result, result[1:], strict=False):
        if row["damage"] != "none":
            assert (before["damage"], before["source_row"]) == ("none", row["source_row"])
    assert len(result) == len(rows) + 4 * len(DAMAGES)


def test_swapped_answers_come_from_the_same_language():
    rows = make_rows()
    owner = {row["output"]: row for row in rows}
    for source, copy in copies_of(rows, "answer_swapped"):
        assert owner[copy["output"]] != source
        assert owner[copy["output"]]["language"] == source["language"]


def test_cut_is_the_first_half_with_line_breaks_kept():
    answer = "  {}\n two three four\n\tfive six seven eight "
    rows = [{**row, "output": answer.format(i)} for i, row in enumerate(make_rows())]
    for source, copy in copies_of(rows, "cut"):
        assert copy["output"] == source["output"].strip().removesuffix("\n\tfive six seven eight")


def test_shuffled_has_the_same_words_in_another_order():
    for source, copy in copies_of(make_rows(), "shuffled"):
        assert copy["output"] != source["output"]
        assert sorted(copy["output"].split()) == sorted(source["output"].split())


def test_refusals_answer_english_rows_only():
    for source, copy in copies_of(make_rows(), "refusal"):
        assert copy["output"] in REFUSALS and source["language"] == "en"


def test_wrong_language_answers_come_from_another_language():
    rows = make_rows()
    owner = {row["output"]: row for row in rows}
    for source, copy in copies_of(rows, "wrong_language"):
        assert owner[copy["output"]]["language"] != source["language"]
        assert owner[copy["output"]]["category"] == "languages"


def test_the_draw_is_frozen():
    rows = make_rows(15)
    drawn = {
        row["source_row"]: row["damage"]
        for row in add_damaged_copies(rows, seed=7, num_per_kind=1)
        if row["damage"] != "none"
    }
    assert drawn == {
        0: "shuffled",
        4: "cut",
        6: "refusal",
        11: "answer_swapped",
        12: "wrong_language",
    }


def test_another_seed_draws_others():
    rows = make_rows()
    assert add_damaged_copies(rows, 0, 4) == add_damaged_copies(rows, 0, 4)
    assert add_damaged_copies(rows, 0, 4) != add_damaged_copies(rows, 1, 4)


def test_equal_prompts_and_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="same instruction"):
        add_damaged_copies([make_row("q", "a"), make_row(" q ", "b")], seed=0)
    with pytest.raises(ValueError, match="cut: 0 rows fit"):
        add_damaged_copies(
            [make_row(str(i), f"short {i}") for i in range(9)], seed=0, num_per_kind=1
        )


@settings(deadline=None)
@given(answers=st.lists(an_answer, min_size=20, max_size=40), seed=st.integers(0, 99))
def test_no_two_rows_are_equal_whatever_the_answers(answers, seed):
    rows = make_rows(30) + [
        make_row(f"x{i}", answer, LANGUAGES[i % 3]) for i, answer in enumerate(answers)
    ]
    result = add_damaged_copies(rows, seed, num_per_kind=3)
    contents = {(row["instruction"], row["input"], row["output"].strip()) for row in result}
    assert len(contents) == len(result)
