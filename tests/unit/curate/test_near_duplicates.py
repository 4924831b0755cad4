"""Near-duplicates of better rows, by hand and against every pair."""

import random

import numpy as np
import pytest

from nuggets_ray.curate.near_duplicates import (
    HashedRows,
    KeptRows,
    check_installed,
    hashes_of,
    num_near_duplicates,
)
from nuggets_ray.data.shingles import shingles
from nuggets_ray.errors import UserError


def test_a_missing_package_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nuggets_ray.curate.near_duplicates.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"select\.max_similarity=0\.8 needs .*pip install"):
        check_installed("select.max_similarity=0.8")


def test_rows_are_read_once() -> None:
    asked: list[list[int]] = []

    def read(rows: np.ndarray) -> list[np.ndarray]:
        asked.append(rows.tolist())
        return [np.array([row], np.uint32) for row in rows]

    hashed = HashedRows(read)
    hashed.read(np.array([3, 1]))
    hashed.read(np.array([1, 2, 3]))
    hashed.read(np.array([2]))
    assert asked == [[3, 1], [2]]
    assert [int(hashed[row][0]) for row in (1, 2, 3)] == [1, 2, 3]


def words(num: int, start: int = 0) -> list[str]:
    return [f"word{number}" for number in range(start, start + num)]


def text_of(seed: int) -> str:
    """One of 30 texts of 60 words, with up to five words changed or left out."""
    draw = random.Random(seed)
    texts = words(60, start=100 * draw.randrange(30))
    for _ in range(draw.randrange(6)):
        texts[draw.randrange(len(texts))] = draw.choice(["other", "word7", ""])
    return " ".join(texts)


class TestWithDatasketch:
    """What takes the package itself."""

    @pytest.fixture(autouse=True)
    def _needs_it(self) -> None:
        pytest.importorskip("datasketch")

    def test_of_twins_the_first_stays(self) -> None:
        # 28 words hold 24 5-grams; two more words two more: 24 of 26, J = 0.92
        texts = [" ".join(words(28)), " ".join(words(30)), " ".join(words(28, 500))]
        kept, rows = walk_texts(texts, 0.9)
        assert rows == [0, 2]
        assert [(one.row, one.twin) for one in kept.dropped] == [(1, 0)]
        assert kept.dropped[0].similarity == pytest.approx(24 / 26)
        assert walk_texts(texts, 0.95)[1] == [0, 1, 2]

    def test_a_pair_at_the_very_bound_is_a_twin(self) -> None:
        texts = [" ".join(words(24)), " ".join(words(20))]  # 16 of 20 5-grams
        assert walk_texts(texts, 0.8)[1] == [0]
        assert walk_texts(texts, 0.801)[1] == [0, 1]

    def test_a_row_is_held_against_those_that_stay_alone(self) -> None:
        # b is a twin of a, c one of b but not of a: b goes, so c stays
        texts = [" ".join(words(44, start)) for start in (0, 4, 8)]  # 36/44 = 0.82, 32/48 = 0.67
        assert walk_texts(texts, 0.8)[1] == [0, 2]

    @pytest.mark.parametrize("bound", [0.5, 0.8, 1.0])
    def test_nothing_below_the_bound_goes_and_nearly_nothing_above_it_stays(
        self, bound: float
    ) -> None:
        texts = [text_of(seed) for seed in range(300)]
        sets = [set(shingles(text)) for text in texts]
        kept, rows = walk_texts(texts, bound)
        for one in kept.dropped:
            assert jaccard(sets[one.row], sets[one.twin]) == pytest.approx(one.similarity)
            assert one.similarity >= bound and one.twin < one.row
        missed = sum(
            any(jaccard(sets[row], sets[other]) >= bound for other in rows if other < row)
            for row in rows
        )
        assert len(rows) + len(kept.dropped) == 300
        assert missed <= 3 and len(kept.dropped) > 5

    def test_short_rows_are_twins_of_their_equals_only(self) -> None:
        assert walk_texts(["Yes.", "yes", "no"], 0.5)[1] == [0, 2]

    def test_a_count_of_near_duplicates(self) -> None:
        texts = [" ".join(words(30)), " ".join(words(30)), " ".join(words(30, 50))]
        assert num_near_duplicates([hashes_of(shingles(text)) for text in texts], 0.8) == 1


def jaccard(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> float:
    return len(one & other) / len(one | other)


def walk_texts(texts: list[str], bound: float) -> tuple[KeptRows, list[int]]:
    """The rows that stay of texts in the order of their rank."""
    hashed = HashedRows(lambda rows: [hashes_of(shingles(texts[row])) for row in rows])
    hashed.read(np.arange(len(texts)))
    kept = KeptRows(hashed, bound)
    return kept, [row for row in range(len(texts)) if kept.keeps(row)]
