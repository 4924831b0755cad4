"""Batches of anchors: full, of similar length, each anchor once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, PreTrainedConfig

from nuggets_ray.score.batches import can_pad, make_batches, pad_rows


@given(
    st.lists(st.integers(0, 30), max_size=20),
    st.integers(0, 10),
    st.integers(1, 120),
    st.booleans(),
)
def test_every_anchor_is_in_one_batch_that_fits(
    lengths: list[int], prefix: int, limit: int, same_length: bool
) -> None:
    batches = make_batches(lengths, prefix, limit, same_length)
    rows = [anchor for batch in batches for anchor in batch]
    assert sorted(rows) == [anchor for anchor, length in enumerate(lengths) if length]
    for batch in batches:
        longest = prefix + max(lengths[anchor] for anchor in batch)
        assert len(batch) == 1 or longest * len(batch) <= limit
        assert not same_length or len({lengths[anchor] for anchor in batch}) == 1
    ordered = [lengths[anchor] for anchor in rows]
    assert ordered == sorted(ordered), "of similar length together"


def test_a_batch_is_as_full_as_it_may_be() -> None:
    assert make_batches([3, 1, 3, 2], 2, 15, same_length=False) == [[1, 3, 0], [2]]
    assert make_batches([3, 1, 3, 2], 2, 15, same_length=True) == [[1], [3], [0, 2]]


def test_padding_stands_behind_and_is_masked() -> None:
    ids, mask = pad_rows([np.array([5, 6, 7]), np.array([8])])
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    with pytest.raises(ValueError):
        pad_rows([])


def test_layers_that_choose_what_they_see_must_not_see_padding() -> None:
    assert can_pad(LlamaConfig())
    assert can_pad(PreTrainedConfig(layer_types=["linear_attention", "full_attention"]))
    assert not can_pad(PreTrainedConfig(layer_types=["full_attention", "indexed_attention"]))
    assert not can_pad(
        LlamaConfig(rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0})
    )
