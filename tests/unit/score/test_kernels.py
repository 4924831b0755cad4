"""The fused and the FlexAttention way against the masked one, and that against plain softmax."""

import pytest
import torch

from nuggets_ray.score.kernels import (
    FLEX_BLOCK,
    Rule,
    flex_tree_attention,
    fused_attention,
    make_block_mask,
    masked_attention,
)
from nuggets_ray.score.pack import Layout, make_layout, make_packs, visible

ANCHORS = [7, 20, 7, 1, 7, 33, 20]
HEADS, KEY_HEADS, HEAD_SIZE = 4, 2, 16
SINKS = torch.tensor([-2.0, 0.0, 1.0, 4.0])


def layouts(prefixes: list[int], limit: int, multiple: int) -> list[Layout]:
    def padded(num_tokens):
        return -(-num_tokens // multiple) * multiple

    packs = make_packs(prefixes, ANCHORS, limit)
    cpu = torch.device("cpu")
    return [make_layout(p, padded(p.num_tokens), padded(p.kept_tokens), cpu) for p in packs]


def states(layout: Layout, dtype=torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    num_queries, num_keys = len(layout.branch_T), len(layout.key_branch_K)
    shapes = [(HEADS, num_queries), (KEY_HEADS, num_keys), (KEY_HEADS, num_keys)]
    drawn = [torch.randn(1, *shape, HEAD_SIZE, generator=generator) * 2 for shape in shapes]
    return tuple(part.to(dtype) for part in drawn)


@pytest.mark.parametrize("window, softcap, sinks", [(None, None, None), (9, 3.0, SINKS)])
def test_masked_attention_is_softmax_over_what_is_visible(monkeypatch, window, softcap, sinks):
    monkeypatch.setattr("nuggets_ray.score.kernels.MAX_MASKED_SCORES", 700)
    for layout in layouts([13, 4], 60, 1):
        query, key, value = states(layout)
        rule = Rule(0.4, window, softcap, sinks)
        out = masked_attention(layout, query, key, value, rule)
        key, value = (part.repeat_interleave(HEADS // KEY_HEADS, dim=1) for part in (key, value))
        scores = query @ key.transpose(2, 3) * 0.4
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        scores = scores.masked_fill(~visible(layout, slice(None), window), -torch.inf)
        if sinks is not None:
            column = sinks[None, :, None, None].expand(1, HEADS, scores.shape[2], 1)
            scores = torch.cat([scores, column], dim=-1)
        weights = scores.softmax(-1)[..., : key.shape[2]]
        expected = (weights @ value).transpose(1, 2)
        torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("sinks", [None, SINKS])
@pytest.mark.parametrize(
    "prefixes, limit", [([30], 1000), ([30], 40), ([0], 50), ([13, 0, 4], 400)]
)
def test_fused_attention_is_the_masked_one(prefixes, limit, sinks):
    for layout in layouts(prefixes, limit, 1):
        rule = Rule(0.3, sinks_H=sinks)
        parts = states(layout)
        fused = fused_attention(layout, *parts, rule)
        torch.testing.assert_close(
            fused, masked_attention(layout, *parts, rule), atol=1e-5, rtol=1e-5
        )


def test_fused_attention_of_bfloat16_is_computed_in_float32():
    (layout,) = layouts([30], 1000, 1)
    parts = states(layout, torch.bfloat16)
    expected = fused_attention(layout, *(part.float() for part in parts), Rule(0.3))
    torch.testing.assert_close(fused_attention(layout, *parts, Rule(0.3)), expected)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(
    "window, softcap, sinks",
    [(None, None, None), (9, None, None), (40, 3.0, None), (9, 3.0, SINKS)],
)
@pytest.mark.parametrize("prefixes, limit", [([140], 1000), ([140], 160), ([13, 0, 4], 400)])
def test_flex_attention_is_the_masked_one(prefixes, limit, window, softcap, sinks):
    for layout in layouts(prefixes, limit, FLEX_BLOCK):
        rule = Rule(0.3, window, softcap, sinks)
        parts = states(layout)
        flex = flex_tree_attention(make_block_mask(layout, window), *parts, rule)
        masked = masked_attention(layout, *parts, rule)
        real = slice(0, layout.pack.num_tokens)
        torch.testing.assert_close(flex[:, real], masked[:, real], atol=1e-5, rtol=1e-5)


def test_the_block_mask_leaves_out_blocks_that_nobody_sees():
    packs = make_packs([128], [128, 128, 128], 1000)
    layout = make_layout(packs[0], 512, 0, torch.device("cpu"))
    block_mask = make_block_mask(layout, None)
    # Each anchor's block: the demonstration in full, itself in part, no other anchor.
    assert block_mask.full_kv_num_blocks.flatten().tolist() == [0, 1, 1, 1]
    assert block_mask.kv_num_blocks.flatten().tolist() == [1, 1, 1, 1]
    assert block_mask.kv_indices[0, 0, :, 0].tolist() == [0, 1, 2, 3]
