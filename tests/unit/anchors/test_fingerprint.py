"""Anchors are told apart by their contents, and sets that are drawn by their rules."""

from dataclasses import replace

import numpy as np

from nuggets_ray.anchors.fingerprint import (
    anchor_fingerprint,
    anchors_fingerprint,
    drawn_rules,
    recorded_rules,
)
from nuggets_ray.config.schema import AnchorsConfig
from nuggets_ray.records import Anchor, Encoding


def anchor(number: int, token_ids: list[int], answer_mask: list[bool]) -> Anchor:
    encoding = Encoding(np.array(token_ids, np.int64), np.array(answer_mask, bool))
    return Anchor(f"random-{number}", f"content-{number}", "random", "text", encoding)


def test_the_anchors_contents_and_their_order() -> None:
    one, two = anchor(0, [1, 2, 3], [False, True, True]), anchor(1, [4, 5], [False, True])
    lists = [
        [one, two],
        [two, one],
        [one],
        [one, anchor(1, [4, 6], [False, True])],
        [one, anchor(1, [4, 5], [True, True])],
        [one, two, two],
    ]
    found = [anchors_fingerprint(anchors) for anchors in lists]
    assert len(set(found)) == len(lists)
    same = [replace(one, anchor_id="file-0", anchor_set="file", text=""), two]
    assert anchors_fingerprint(same) == found[0]


def test_the_border_between_two_anchors_counts() -> None:
    joined = [anchor(0, [1, 2, 3, 4], [False, True, False, True])]
    apart = [anchor(0, [1, 2], [False, True]), anchor(1, [3, 4], [False, True])]
    assert anchors_fingerprint(joined) != anchors_fingerprint(apart)


def test_one_anchor_is_its_tokens_and_what_of_them_is_answer() -> None:
    one = anchor(0, [1, 2, 3], [False, True, True])
    assert anchor_fingerprint(one) == anchor_fingerprint(replace(one, anchor_id="b-7", text=""))
    assert anchor_fingerprint(one) != anchor_fingerprint(anchor(0, [1, 2, 3], [False, False, True]))


def test_the_rule_of_a_set_that_is_drawn_leaves_its_number_open() -> None:
    rules = [
        drawn_rules(config, seed)
        for config, seed in (
            (AnchorsConfig(num=10), 0),
            (AnchorsConfig(num=11), 0),
            (AnchorsConfig(num=10), 1),
            (AnchorsConfig(method="kmeans"), 0),
            (AnchorsConfig(method="stratified"), 0),
            (AnchorsConfig(method="stratified", clusters=3), 0),
            (AnchorsConfig(method="stratified", per="topic"), 0),
            (AnchorsConfig(method="stratified", per="topic", divide="equal"), 0),
        )
    ]
    assert rules[0] == rules[1] == {"random": "random, seed 0"}
    assert len({str(rule) for rule in rules}) == len(rules) - 1
    assert drawn_rules(AnchorsConfig(method="file", path="a"), 0) == {}


def test_rules_of_a_manifest_of_now_and_of_an_earlier_version() -> None:
    rules = drawn_rules(AnchorsConfig(sets={"a": {}, "b": {"method": "kmeans"}}), 3)
    assert recorded_rules({"anchors_rule": rules}) == rules
    assert recorded_rules({"anchors_rule": "random, num 100, seed 3"}) == {
        "random": "random, seed 3"
    }
    assert recorded_rules({"anchors_rule": "file, num None"}) == {} == recorded_rules({})
