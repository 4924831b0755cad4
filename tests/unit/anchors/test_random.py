"""Random anchors: distinct, seeded, the same whatever order or multiplicity the rows come in."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuggets_ray.anchors.random import random_ids
from nuggets_ray.errors import UserError

CONTENT_IDS = [f"content-{i}" for i in range(50)]


def test_takes_the_smallest_hashes_of_seed_and_content_id_in_that_order() -> None:
    def draw(content_id: str) -> str:
        return hashlib.sha256(f"7:anchor:{content_id}".encode()).hexdigest()

    assert random_ids(CONTENT_IDS, 5, seed=7) == sorted(CONTENT_IDS, key=draw)[:5]


@given(st.permutations(CONTENT_IDS), st.lists(st.sampled_from(CONTENT_IDS)))
def test_order_and_copies_do_not_matter(shuffled: list[str], copies: list[str]) -> None:
    assert random_ids([*copies, *shuffled], 8, seed=0) == random_ids(CONTENT_IDS, 8, seed=0)


def test_the_seed_changes_the_draw() -> None:
    assert random_ids(CONTENT_IDS, 8, seed=0) != random_ids(CONTENT_IDS, 8, seed=1)


def test_more_candidates_displace_only_anchors_with_a_larger_hash() -> None:
    before, after = random_ids(CONTENT_IDS[:40], 8, seed=0), random_ids(CONTENT_IDS, 8, seed=0)
    kept = [content_id for content_id in after if content_id in before]
    assert kept == before[: len(kept)]


def test_copies_do_not_count_as_candidates() -> None:
    with pytest.raises(UserError, match=r"anchors\.num=3 .* 2 different candidates"):
        random_ids(["a", "b", "a"], 3, seed=0)


def test_no_anchor_is_refused() -> None:
    with pytest.raises(UserError, match=r"anchors\.num=0"):
        random_ids(CONTENT_IDS, 0, seed=0)
