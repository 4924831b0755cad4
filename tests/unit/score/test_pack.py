"""Packs: every token exactly once, within the limit where that can be, and who sees whom."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from nuggets_ray.score.pack import make_layout, make_packs, visible

LENGTHS = st.lists(st.integers(0, 12), min_size=1, max_size=6)


@given(LENGTHS, st.lists(st.integers(0, 12), max_size=8), st.integers(1, 60))
def test_every_token_is_packed_once_and_after_its_own_demonstration(prefixes, anchors, limit):
    packs = make_packs(prefixes, anchors, limit)
    placed = [segment for pack in packs for segment in pack.segments]
    expected = [(c, None) for c, length in enumerate(prefixes) if length]
    expected += [(c, a) for c in range(len(prefixes)) for a, length in enumerate(anchors) if length]
    found = [(segment.candidate, segment.anchor) for segment in placed]
    assert sorted(found, key=str) == sorted(expected, key=str)
    for pack in packs:
        assert pack.num_tokens <= limit or len(pack.segments) == 1
        seen = set()
        for before, segment in zip((None, *pack.segments), pack.segments, strict=False):
            assert segment.start == (before.stop if before else 0)
            if segment.is_prefix:
                assert (segment.num_tokens, segment.first_position) == (
                    prefixes[segment.candidate],
                    0,
                )
                seen.add(segment.candidate)
            else:
                assert segment.num_tokens == anchors[segment.anchor]
                assert segment.first_position == prefixes[segment.candidate]
                if prefixes[segment.candidate] and segment.candidate not in seen:
                    assert pack.kept_tokens == prefixes[segment.candidate]
        if pack.kept_tokens or pack.keeps_prefix:
            assert len({segment.candidate for segment in pack.segments}) == 1


@given(LENGTHS, st.lists(st.integers(1, 12), min_size=1, max_size=8), st.integers(1, 60))
def test_a_kept_demonstration_is_of_the_pack_before(prefixes, anchors, limit):
    kept = None
    for pack in make_packs(prefixes, anchors, limit):
        if pack.kept_tokens:
            assert kept == pack.segments[0].candidate
        else:
            kept = pack.segments[0].candidate if pack.keeps_prefix else None


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=3),
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.integers(1, 40),
    st.one_of(st.none(), st.integers(1, 6)),
    st.one_of(st.none(), st.integers(1, 6)),
    st.integers(0, 3),
)
def test_a_token_sees_its_demonstration_and_its_own_branch(
    prefixes, anchors, limit, window, chunk, padding
):
    for pack in make_packs(prefixes, anchors, limit):
        num_kept = pack.kept_tokens + (padding if pack.kept_tokens else 0)
        layout = make_layout(pack, pack.num_tokens + padding, num_kept, torch.device("cpu"))
        seen = visible(layout, slice(0, pack.num_tokens), window, chunk).numpy()
        kept = [(pack.segments[0].candidate, None, p) for p in range(pack.kept_tokens)]
        own = [
            (s.candidate, s.anchor, s.first_position + t)
            for s in pack.segments
            for t in range(s.num_tokens)
        ]
        unseen = [(-1, -1, -1)]
        keys = kept + unseen * (num_kept - pack.kept_tokens) + own + unseen * padding
        expected = np.array([[_sees(q, k, window, chunk) for k in keys] for q in own])
        np.testing.assert_array_equal(seen, expected)


def _sees(query, key, window, chunk):
    same_candidate = query[0] == key[0]
    same_branch = key[1] is None or query[1] == key[1]
    distance = query[2] - key[2]
    is_near = window is None or distance < window
    same_chunk = chunk is None or query[2] // chunk == key[2] // chunk
    return same_candidate and same_branch and distance >= 0 and is_near and same_chunk


@given(st.integers(0, 9), st.lists(st.integers(1, 9), min_size=2, max_size=30), st.integers(9, 60))
def test_a_candidate_is_cut_into_as_few_packs_as_fit_and_into_equal_ones(prefix, anchors, limit):
    sizes = [pack.num_tokens for pack in make_packs([prefix], anchors, limit)]
    assert max(sizes) <= limit and (len(sizes) == 1) == (prefix + sum(anchors) <= limit)
    if len(sizes) > 1 and max(sizes) > max(
        prefix, *anchors
    ):  # with room for one token less than the largest, there would be more
        assert len(make_packs([prefix], anchors, max(sizes) - 1)) > len(sizes)
        assert len(make_packs([prefix], anchors, max(sizes))) == len(sizes)


def test_a_small_rest_is_shared_out():
    sizes = [pack.num_tokens for pack in make_packs([200], [185] * 100, 16384)]
    assert sizes == [9265, 9435]
