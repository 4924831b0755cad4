"""Names in finetune.selections, and the selections that stand beside the golden one."""

from dataclasses import replace
from typing import Any

import pytest

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import Config, SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.selections import before_golden, beside_golden, check_names
from nuggets_ray.select import check_config, default_name

CONFIG = Config("out", select=SelectConfig(fraction=0.5, prefix="my_"))


def naming(*names: str, **changed: Any) -> Config:
    select = replace(CONFIG.select, **changed)
    return replace(CONFIG, finetune=FinetuneConfig(selections=list(names)), select=select)


def check(config: Config) -> None:
    check_names(config.select, config.finetune.selections)


def others(config: Config) -> dict[str, SelectConfig]:
    """Beside a selection of four rows with 12.6 answer tokens in the mean."""
    return {
        default_name(other): other
        for other in beside_golden(config.select, config.finetune.selections, 4, 12.6)
    }


@pytest.mark.parametrize("name", ["goldn", "random", "random-01", "random--1", "random-0-token"])
def test_an_unknown_selection_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=rf"finetune.selections={name}: .*makes golden, bottom"):
        check(naming("golden", name))


def test_the_selection_has_its_own_name() -> None:
    with pytest.raises(UserError, match=r"finetune.selections=golden: .*makes best, bottom"):
        check(naming("golden", name="best"))
    known = naming("best", "full", "shortest", "random-3-tokens", name="best")
    check(known)
    assert list(others(known)) == ["bottom", "longest", "random-0", "shortest", "random-3-tokens"]


@pytest.mark.parametrize("name", ["bottom", "longest", "random-0", "full"])
def test_the_selection_cannot_take_another_s_name(name: str) -> None:
    with pytest.raises(UserError, match=f"select.name={name}"):
        check(naming(name=name))


def test_what_is_matched_in_length_is_made_first_and_of_as_many_rows() -> None:
    matched = replace(CONFIG.select, match_length="random-2", max_answer_tokens=9, per="task")
    drawn = SelectConfig(fraction=0.5, by="random", draw=2, prefix="my_", max_answer_tokens=9)
    assert before_golden(matched) == drawn
    by_length = before_golden(replace(matched, match_length="longest"))
    assert by_length is not None and (by_length.by, by_length.fraction) == ("longest", 0.5)
    for other in (None, "mine", "random-0-tokens"):
        assert before_golden(replace(matched, match_length=other)) is None


def test_what_stands_beside_is_of_the_same_eligible_rows_without_quotas() -> None:
    config = naming(min_answer_tokens=3, per="task", max_similarity=0.8)
    assert others(config)["longest"] == SelectConfig(
        "top_k", k=4, by="longest", prefix="my_", min_answer_tokens=3
    )


def test_bottom_longest_and_a_draw_are_always_made() -> None:
    assert others(CONFIG) == {
        "bottom": SelectConfig("top_k", k=4, order="bottom", prefix="my_"),
        "longest": SelectConfig("top_k", k=4, by="longest", prefix="my_"),
        "random-0": SelectConfig("top_k", k=4, by="random", prefix="my_"),
    }
    assert others(naming(replace=True))["bottom"].replace
    assert not others(naming(unique=False))["random-0"].unique


def test_what_is_trained_on_is_made_once() -> None:
    names = ("golden", "random-0", "shortest", "random-2", "random-2-tokens", "full", "bottom")
    made = others(naming(*names))
    assert list(made) == [
        *("bottom", "longest", "random-0", "shortest", "random-2", "random-2-tokens")
    ]
    assert made["random-2"] == SelectConfig("top_k", k=4, by="random", draw=2, prefix="my_")
    tokens = SelectConfig("top_tokens", tokens=50, by="random", draw=2, prefix="my_")
    assert made["random-2-tokens"] == tokens, "4 x 12.6 answer tokens"
    for select in made.values():
        check_config(select)
