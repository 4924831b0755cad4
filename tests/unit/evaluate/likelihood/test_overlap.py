"""Overlaps of held-out rows with others: exact Jaccard, by hand and against brute force."""

import random

import pytest

from nuggets_ray.data.shingles import shingles
from nuggets_ray.evaluate.likelihood import overlap as held_out
from nuggets_ray.evaluate.likelihood.overlap import (
    Overlap,
    TextRow,
    find_overlaps,
    text_row,
)
from nuggets_ray.records import Example, Message, ToolCall


def row(name: str, text: str, content_id: str | None = None) -> TextRow:
    return TextRow(name, content_id or f"content of {name}", text)


def words(num: int, start: int = 0) -> str:
    return " ".join(f"word{i}" for i in range(start, start + num))


def test_same_content_and_near_duplicates_are_named_with_their_twins() -> None:
    rows = [
        row("h1", words(100)),
        row("h2", "quite another text about something else entirely"),
        row("h3", "told apart by words only", content_id="c3"),
    ]
    sources = {
        "anchors": [[row("a1", words(80, start=500))]],
        "golden": [[row("g1", words(100).upper() + "!"), row("g2", "x", content_id="c3")]],
    }
    assert find_overlaps(rows, sources) == [
        Overlap("h1", "near_duplicate", "golden", "g1", 1.0),
        Overlap("h3", "same_content", "golden", "g2", 1.0),
    ]


def test_the_threshold_by_hand() -> None:
    """50 and 45 words of which one holds the other: 41 / 46 shingles; 50 and 41: 37 / 46."""
    held = [row("h", words(50))]
    near, far = find_overlaps(held, {"t": [[row("t", words(45))]]}), [row("t", words(41))]
    assert [overlap.similarity for overlap in near] == [pytest.approx(41 / 46)]
    assert find_overlaps(held, {"t": [far]}) == [Overlap("h", "near_duplicate", "t", "t", 37 / 46)]
    assert find_overlaps(held, {"t": [[row("t", words(40))]]}) == []
    assert find_overlaps(held, {"t": [far]}, min_similarity=0.81) == []


def test_exactly_at_the_threshold_counts() -> None:
    """24 words hold 20 shingles; the first 20 of them 16: J = 0.8."""
    found = find_overlaps([row("h", words(24))], {"t": [[row("t", words(20))]]})
    assert [overlap.similarity for overlap in found] == [0.8]


@pytest.mark.parametrize(("num_words", "is_found"), [(49, True), (48, False)])
def test_one_changed_word(num_words: int, is_found: bool) -> None:
    """It takes 5 of n - 4 shingles: (n - 9) / (n + 1)."""
    changed = words(num_words).replace("word20 ", "another ")
    found = find_overlaps([row("h", words(num_words))], {"t": [[row("t", changed)]]})
    assert bool(found) == is_found


def test_a_longer_text_that_holds_the_row_is_no_near_duplicate() -> None:
    assert find_overlaps([row("h", words(50))], {"t": [[row("t", words(200))]]}) == []


def test_the_closest_twin_is_named_and_same_content_goes_before() -> None:
    held = [row("h", words(50), content_id="c")]
    chunks = [[row("far", words(46))], [row("near", words(49))], [row("near too", words(49))]]
    assert find_overlaps(held, {"t": chunks})[0].twin_id == "near"
    with_same = [*chunks, [row("equal", words(50)), row("same", words(10), content_id="c")]]
    assert find_overlaps(held, {"t": with_same})[0].twin_id == "same"


def test_equal_held_out_rows_are_all_named() -> None:
    held = [row("h", words(9), content_id="c"), row("h-2", words(9), content_id="c")]
    found = find_overlaps(held, {"t": [[row("t", "other words", content_id="c")]]})
    assert [(overlap.example_id, overlap.twin_id) for overlap in found] == [
        ("h", "t"),
        ("h-2", "t"),
    ]


def test_short_rows_are_like_their_equals_only() -> None:
    held = [row("h", "What is 2 + 2?")]
    assert find_overlaps(held, {"t": [[row("t", "what is 2 2")]]})[0].similarity == 1.0
    assert find_overlaps(held, {"t": [[row("t", "what is 2 3")]]}) == []


def test_nothing_to_compare() -> None:
    assert find_overlaps([], {"t": [[row("t", "x")]]}) == []
    assert find_overlaps([row("h", "x")], {}) == []
    assert find_overlaps([row("h", "x")], {"t": [[]]}) == []


@pytest.mark.parametrize("block_rows", [1, 7, 1000])
def test_against_brute_force(monkeypatch, block_rows: int) -> None:
    """Texts of a small vocabulary, and copies of some with words changed."""
    monkeypatch.setattr(held_out, "BLOCK_ROWS", block_rows)
    rng = random.Random(0)
    texts = [rng.choices("abcdefg", k=rng.randint(1, 60)) for _ in range(40)]
    copies = [list(text) for text in texts for _ in range(3)]
    for copy in copies:
        for _ in range(rng.randint(0, 2)):
            copy[rng.randrange(len(copy))] = rng.choice("abcdefg")
    held = [row(f"h{i}", " ".join(text)) for i, text in enumerate(texts)]
    train = [row(f"t{i}", " ".join(text)) for i, text in enumerate(copies)]

    def jaccard(a: TextRow, b: TextRow) -> float:
        first, second = shingles(a.text), shingles(b.text)
        return len(first & second) / len(first | second)

    best = {h.example_id: max(jaccard(h, t) for t in train) for h in held}
    expected = {name: value for name, value in best.items() if value >= 0.8}
    found = find_overlaps(held, {"t": [train[:50], train[50:]]})
    assert {overlap.example_id: overlap.similarity for overlap in found} == expected
    assert 0 < len(found) < len(held)


def test_the_text_of_an_example_is_its_turns() -> None:
    example = Example((Message("user", "Add.", input="1 and 2"), Message("assistant", " 3 ")))
    calls = Message("assistant", "3", tool_calls=(ToolCall("add", "{}"),))
    called = text_row("id", Example((Message("user", "Add."), calls), ('{"name": "add"}',)))
    assert '{"name": "add"}' in called.text and '"arguments": {}' in called.text
    assert text_row("id", example) == TextRow("id", example.content_id, "Add.\n1 and 2\n 3")
