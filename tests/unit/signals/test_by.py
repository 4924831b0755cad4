"""What select.by asks, and what it may not."""

import pytest

from nuggets_ray.errors import UserError
from nuggets_ray.signals.by import check_by, column_of_file, is_blend, name_of, weights_of


def test_one_signal_or_weights_of_several() -> None:
    assert weights_of("ifd") == {"ifd": 1.0} and not is_blend("ifd")
    blend = {"golden_score": 1, "ifd": -0.5}
    assert weights_of(blend) == {"golden_score": 1.0, "ifd": -0.5} and is_blend(blend)


def test_what_is_none_of_ours_is_a_column_of_the_file() -> None:
    assert column_of_file("ifd") is None
    assert column_of_file("quality") == "quality"
    assert column_of_file("file.golden_score") == "golden_score"


@pytest.mark.parametrize(
    ("by", "name"),
    [
        ("golden_score", "golden"),
        ("ifd", "ifd"),
        ({"ifd": 1.0}, "blend"),
        ("my score/1", "my-score-1"),
        ("file.golden_score", "golden_score"),
        ("???", "column"),
    ],
)
def test_a_selection_is_named_after_it(by: object, name: str) -> None:
    assert name_of(by) == name  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("by", "words"),
    [
        ("golden", "did you mean select.by=golden_score"),
        ("quality", "or a column of the file select.scores_path"),
        ("file.quality", "give the file too"),
        ({}, "as in 'select.by={golden_score: 1"),
        (3, "select.by=3"),
        ({"ifd": 0}, "the weight of ifd is 0"),
        ({"ifd": "much"}, "the weight of ifd is much"),
        ({"ifd": 1, "random": 1}, "random has no numbers"),
        ({"golden_score": 1, "fdi": 1}, "did you mean select.by=ifd"),
    ],
)
def test_what_is_no_signal_is_refused_with_the_way_out(by: object, words: str) -> None:
    with pytest.raises(UserError) as error:
        check_by(by, None)
    assert words in str(error.value)


def test_with_a_file_any_column_will_do() -> None:
    check_by("quality", "/scores.csv")
    check_by({"quality": 1, "ifd": 2}, "/scores.csv")
    with pytest.raises(UserError, match="the weight of quality is 0"):
        check_by({"quality": 0}, "/scores.csv")
