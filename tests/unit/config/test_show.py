"""The keys of show.*: what they refuse."""

import pytest

from nuggets_ray.config.compose import load
from nuggets_ray.config.show import ShowConfig
from nuggets_ray.errors import UserError


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("show.by=score", "show.by=score: take one of golden_score"),
        ("show.order=best", "show.order=best: take one of top, bottom"),
        ("show.num=0", "show.num=0: must be at least 1"),
        ("show.serch=a", "show.serch: there is no such key; did you mean show.search=a"),
    ],
)
def test_a_mistake_is_told(given: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load([given])


def test_an_id_and_a_text_are_taken_as_they_are() -> None:
    config = load(["show.id=1e5", "show.search=50% (a, b)"]).show
    assert config == ShowConfig(id="1e5", search="50% (a, b)")
