"""Sizes and cuts that can be none are refused with the key and a way out."""

import pytest

from nuggets_ray.config.compose import load
from nuggets_ray.errors import UserError


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("study.sizes=[100,1]", "study.sizes=1: sets of at least 2"),
        ("study.cuts=[0.6]", r"study.cuts=0.6: give shares of the rows in \(0, 0.5\]"),
        ("study.cuts=[0]", "study.cuts=0"),
        ("study.cuts=[]", "study.cuts is empty"),
        ("study.cuts=0.02", r"study.cuts=0.02: must be a list; did you mean 'study.cuts=\[0.02\]'"),
        ("study.cuts=[2%]", r"study.cuts=2%: must be a finite number; did you mean .*\[0.02\]"),
        ("study.sizes=[1e3,2k]", r"study.sizes=1e3: must be a whole number; .*\[1000\]"),
        ("study.draws=1", "study.draws=1: must be at least 2"),
        ("study.min_overlap=1.5", "study.min_overlap=1.5: must be between 0 and 1"),
    ],
)
def test_what_no_study_can_take_is_refused(argument: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        load([argument])


def test_a_study_is_chosen_by_its_group() -> None:
    config = load(["study=anchor_robustness", "study.cuts=[0.02]", "study.sizes=[100,500,2000]"])
    assert config.study.name == "anchor_robustness"
    assert (config.study.cuts, config.study.sizes) == ([0.02], [100, 500, 2000])
