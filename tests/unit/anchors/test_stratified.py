"""Anchors by stratum: the shares that each gives, the same draw whatever the order of the rows."""

import logging
from collections import Counter

import pytest

from nuggets_ray.anchors.stratified import stratified_ids
from nuggets_ray.errors import UserError

SIZES = {"maths": 60, "code": 30, "writing": 9, "law": 1}
STRATUM_OF = {f"{name}{i:02}": name for name, size in SIZES.items() for i in range(size)}


def shares(num: int, divide: str, seed: int = 0) -> dict[str, int]:
    chosen = stratified_ids(STRATUM_OF, num, seed, divide, "anchors.per=topic")
    assert len(set(chosen)) == len(chosen) == num
    return dict(Counter(STRATUM_OF[content_id] for content_id in chosen))


def test_shares_in_proportion_are_rounded_by_the_largest_remainder() -> None:
    assert shares(10, "proportional") == {"maths": 6, "code": 3, "writing": 1}
    assert shares(100, "proportional") == SIZES
    assert shares(13, "proportional") == {"maths": 8, "code": 4, "writing": 1}


def test_equal_shares_are_capped_by_what_there_is() -> None:
    assert shares(8, "equal") == {"maths": 3, "code": 2, "writing": 2, "law": 1}
    assert shares(40, "equal") == {"maths": 15, "code": 15, "writing": 9, "law": 1}


def test_the_draw_is_seeded_and_knows_no_order() -> None:
    chosen = stratified_ids(STRATUM_OF, 20, 3, "equal", "topic")
    turned = dict(reversed(STRATUM_OF.items()))
    assert stratified_ids(turned, 20, 3, "equal", "topic") == chosen
    assert stratified_ids(STRATUM_OF, 20, 4, "equal", "topic") != chosen
    more = stratified_ids(STRATUM_OF | {"maths99": "maths"}, 20, 3, "equal", "topic")
    assert len(set(more) & set(chosen)) >= 19


def test_strata_without_an_anchor_are_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert "law" not in shares(10, "proportional")
    assert "maths 6 (of 60 rows), code 3 (of 30 rows)" in caplog.text
    assert "anchors.per=topic: 1 of its 4 values, with 1 rows in all" in caplog.text


def test_more_strata_than_anchors_share_nothing_equally() -> None:
    with pytest.raises(UserError, match=r"anchors.per=topic has 4 different values.*anchors.num=3"):
        shares(3, "equal")
    with pytest.raises(UserError, match=r"anchors.num=101 is more than the 100"):
        shares(101, "proportional")
