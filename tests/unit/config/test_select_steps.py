"""Which keys of select.* go together."""

import pytest

from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.config.select_steps import check_steps, expected_depth, has_steps
from nuggets_ray.errors import UserError


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"min_answer_tokens": 9, "max_answer_tokens": 5}, "leave no row: swap them"),
        ({"divide": "equal"}, r"select\.divide=equal needs select\.per"),
        ({"quotas": {"a": 1.0}}, r"select\.quotas=.* needs select\.per"),
        ({"per": "x", "divide": "equal", "quotas": {"a": 1.0}}, "two answers to one question"),
        ({"per": "x", "quotas": {"a": -1.0}}, r"select\.quotas\.a=-1\.0: must be at least 0"),
        ({"per": "x", "quotas": {"a": 0.5, "b": 0.4}}, r"shares that sum to 1 \(these .* 0\.9\)"),
        ({"per": "x", "quotas": {"a": 3.0, "b": 4.0}}, r"7 rows in all: give .*select\.k=7"),
        ({"rule": "top_tokens", "per": "x"}, r"select\.per=x divides .*top_tokens has none"),
        ({"rule": "threshold", "match_length": "random-0"}, r"select\.match_length=random-0 "),
        ({"rule": "threshold", "diversity": "k_center"}, r"select\.diversity=k_center "),
    ],
)
def test_what_does_not_go_together_is_refused(keys: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_steps(SelectConfig(**keys))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "keys",
    [
        {"per": "x", "quotas": {"a": 0.3, "b": 0.7}},
        {"rule": "top_k", "k": 7, "per": "x", "quotas": {"a": 3.0, "b": 4.0}},
        {"rule": "threshold", "min_score": 0.5, "max_similarity": 0.8},
    ],
)
def test_what_goes_together_passes(keys: dict[str, object]) -> None:
    config = SelectConfig(**keys)  # type: ignore[arg-type]
    check_steps(config)
    assert has_steps(config)


def test_bounds_alone_are_no_step_of_their_own() -> None:
    assert not has_steps(SelectConfig(fraction=0.1, max_answer_tokens=9))


def test_how_far_down_a_selection_is_expected_to_go() -> None:
    assert expected_depth(SelectConfig(), 100) == 100
    assert expected_depth(SelectConfig(diversity="k_center", pool=2.5), 100) == 250
    assert expected_depth(SelectConfig(max_similarity=0.8), 101) == 112
    assert expected_depth(SelectConfig(per="x", max_similarity=0.8), 100) == 220
