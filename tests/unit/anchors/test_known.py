"""What a folder has of the anchors that are asked for, what is added, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from nuggets_ray.anchors.known import (
    OtherAnchorsError,
    are_the_same,
    check_rules,
    check_sets,
    new_of_file,
    num_to_draw,
    numbered,
)
from nuggets_ray.config.schema import AnchorsConfig
from nuggets_ray.errors import UserError
from nuggets_ray.records import Anchor, Encoding


def anchor(name: str, number: int, token: int) -> Anchor:
    encoding = Encoding(np.array([1, token]), np.array([False, True]))
    return Anchor(f"{name}-{number}", f"content-{token}", name, f"text\n{token}", encoding)


MATHS = [anchor("maths", i, 10 + i) for i in range(3)]
WRITING = [anchor("writing", i, 20 + i) for i in range(2)]


def test_what_a_file_has_beyond_the_folder_is_new() -> None:
    given = [*MATHS, anchor("maths", 3, 13)]
    assert new_of_file("maths", given, [*MATHS, *WRITING]) == given[3:]
    assert new_of_file("maths", list(reversed(given)), MATHS) == given[3:], "in another order"
    assert new_of_file("maths", MATHS, MATHS) == []
    assert numbered("maths", [replace(given[3], anchor_id="?")], [*MATHS, *WRITING]) == given[3:]


def test_an_anchor_that_changed_or_went_is_named() -> None:
    changed = [MATHS[0], replace(MATHS[1], encoding=WRITING[0].encoding), MATHS[2]]
    with pytest.raises(OtherAnchorsError, match=r"1 anchors .* maths-1 \('text 11'\)"):
        new_of_file("maths", changed, MATHS)
    with pytest.raises(OtherAnchorsError, match=r"2 anchors .* maths-0 .*maths-1 .*put them back"):
        new_of_file("maths", MATHS[2:], MATHS)
    mask = replace(MATHS[0].encoding, answer_mask=np.array([True, True]))
    with pytest.raises(OtherAnchorsError, match="maths-0"):
        new_of_file("maths", [replace(MATHS[0], encoding=mask), *MATHS[1:]], MATHS)


def test_an_anchor_of_two_sets_counts_in_the_first(caplog: pytest.LogCaptureFixture) -> None:
    twin = replace(MATHS[0], anchor_id="writing-2", anchor_set="writing")
    assert new_of_file("writing", [*WRITING, twin], MATHS) == WRITING
    assert "1 anchors of the set writing" in caplog.text and "writing-2 is maths-0" in caplog.text
    with pytest.raises(UserError, match="each of its 1 anchors is in the set maths already"):
        new_of_file("writing", [twin], MATHS)


def test_how_many_are_drawn_beside_those_that_are_there() -> None:
    drawn = [anchor("random", i, i) for i in range(4)]
    assert num_to_draw("random", "random", 4, drawn) == 0
    assert num_to_draw("random", "random", 6, [*drawn, *MATHS]) == 2
    assert num_to_draw("kmeans", "kmeans", 5, drawn) == 5
    with pytest.raises(OtherAnchorsError, match=r"has 4 anchors in this folder, and 3 are asked"):
        num_to_draw("random", "random", 3, drawn)
    others = [replace(one, anchor_set="spread") for one in drawn]
    with pytest.raises(OtherAnchorsError, match="more kmeans anchors would be others"):
        num_to_draw("spread", "kmeans", 5, others)


def test_a_set_that_is_gone_or_drawn_otherwise() -> None:
    known = [*MATHS, *WRITING]
    sets = {"maths": AnchorsConfig(), "writing": AnchorsConfig(), "more": AnchorsConfig()}
    check_sets(known, sets)
    with pytest.raises(OtherAnchorsError, match="the anchor set writing too, and maths is asked"):
        check_sets(known, {"maths": AnchorsConfig()})
    check_rules(known, {"maths": "random, seed 0"}, {"maths": "random, seed 0", "more": "kmeans"})
    with pytest.raises(OtherAnchorsError, match=r"maths .*was random, seed 0, now random, seed 1"):
        check_rules(known, {"maths": "random, seed 0"}, {"maths": "random, seed 1"})
    with pytest.raises(OtherAnchorsError, match=r"was file, now random, seed 1"):
        check_rules(known, {}, {"maths": "random, seed 1"})


def test_contents_in_order() -> None:
    assert are_the_same(MATHS, [replace(one, anchor_id="x", text="") for one in MATHS])
    assert not are_the_same(MATHS, MATHS[::-1]) and not are_the_same(MATHS, MATHS[:2])
