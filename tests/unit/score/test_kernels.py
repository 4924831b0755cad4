"""Every way to compute a tree's attention against the masked one, and that against plain softmax.

The variable-length kernel itself needs a GPU: what is handed to it is checked through a stand-in,
and that PyTorch takes it by tensors of a GPU that are shapes alone.
"""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
import torch._dynamo
from torch._subclasses.fake_tensor import FakeTensorMode

from nuggets_ray.score.kernels import varlen
from nuggets_ray.score.kernels.flex import FLEX_BLOCK, flex_tree_attention, make_block_mask
from nuggets_ray.score.kernels.fused import fused_attention
from nuggets_ray.score.kernels.joint import joint_attention
from nuggets_ray.score.kernels.masked import masked_attention
from nuggets_ray.score.kernels.rule import Rule
from nuggets_ray.score.pack import Layout, make_layout, make_packs, visible

ANCHORS = [7, 20, 7, 1, 7, 33, 20]
HEADS, KEY_HEADS, HEAD_SIZE = 4, 2, 16
SINKS = torch.tensor([-2.0, 0.0, 1.0, 4.0])


def layouts(prefixes: list[int], limit: int, multiple: int, anchors=ANCHORS) -> list[Layout]:
    def padded(num_tokens):
        return -(-num_tokens // multiple) * multiple

    packs = make_packs(prefixes, anchors, limit)
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
    monkeypatch.setattr("nuggets_ray.score.kernels.masked.MAX_SCORES", 700)
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


@pytest.mark.parametrize("max_queries", [5, 192])
@pytest.mark.parametrize(
    "prefixes, limit", [([30], 1000), ([30], 40), ([0], 50), ([13, 0, 4], 400)]
)
def test_joint_attention_is_the_masked_one(monkeypatch, max_queries, prefixes, limit):
    monkeypatch.setattr("nuggets_ray.score.kernels.joint.MAX_QUERIES", max_queries)
    for layout in layouts(prefixes, limit, 1):
        parts = states(layout)
        joint = joint_attention(layout, *parts, Rule(0.3))
        masked = masked_attention(layout, *parts, Rule(0.3))
        torch.testing.assert_close(joint, masked, atol=1e-5, rtol=1e-5)


def test_joint_attention_of_bfloat16_rounds_and_no_more():
    (layout,) = layouts([30], 1000, 1)
    parts = states(layout, torch.bfloat16)
    joint = joint_attention(layout, *parts, Rule(0.05))
    assert joint.dtype == torch.bfloat16
    expected = masked_attention(layout, *(part.float() for part in parts), Rule(0.05))
    torch.testing.assert_close(joint.float(), expected, atol=0.03, rtol=0.01)


def stand_in_varlen_attn(  # the keywords are PyTorch's
    query, key, value, starts_q, starts_k, longest_q, longest_k, *, return_aux, scale, window_size,
    enable_gqa=None,
):  # fmt: skip
    """What torch.nn.attention.varlen.varlen_attn documents, a sequence at a time in float32."""
    assert return_aux.lse and starts_q.dtype == starts_k.dtype == torch.int32
    assert enable_gqa == (query.shape[1] != key.shape[1] if varlen.ASKS_FOR_GQA else None)
    assert longest_q == starts_q.diff().max() and longest_k == starts_k.diff().max()
    assert starts_q[-1] == len(query) and starts_k[-1] == len(key)
    key, value = (s.repeat_interleave(query.shape[1] // s.shape[1], dim=1) for s in (key, value))
    outs, lses = [], []
    for n in range(len(starts_q) - 1):
        q, k, v = (
            states[starts[n] : starts[n + 1]].transpose(0, 1).float()
            for states, starts in ((query, starts_q), (key, starts_k), (value, starts_k))
        )
        scores = q @ k.transpose(1, 2) * scale
        if window_size == (-1, 0):
            before = len(k[0]) - len(q[0])  # the mask ends with the last key
            hidden = torch.ones(scores.shape[1:], dtype=torch.bool).triu(1 + before)
            scores = scores.masked_fill(hidden, -torch.inf)
        outs.append((scores.softmax(-1) @ v).transpose(0, 1))
        lses.append(scores.logsumexp(-1))
    return torch.cat(outs).to(query.dtype), torch.cat(lses, dim=1)


WAYS = {
    "merge": (varlen.make_spans, varlen.merged_attention),
    "gather": (varlen.make_gathered, varlen.gathered_attention),
}


@pytest.mark.parametrize("asks_for_gqa", [True, False])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sinks", [None, SINKS])
@pytest.mark.parametrize(
    "prefixes, limit, multiple",
    [([30], 1000, 1), ([30], 40, 1), ([0], 50, 1), ([13, 0, 4], 400, 1), ([13, 4], 400, 32)],
)
def test_varlen_attention_is_the_masked_one(
    monkeypatch, prefixes, limit, multiple, sinks, way, asks_for_gqa
):
    monkeypatch.setattr(varlen, "ASKS_FOR_GQA", asks_for_gqa)
    monkeypatch.setattr(varlen, "varlen_attn", stand_in_varlen_attn)
    make, attend = WAYS[way]
    for layout in layouts(prefixes, limit, multiple):
        query, key, value = states(layout)
        rule = Rule(0.3, sinks_H=sinks)
        real = slice(0, layout.pack.num_tokens)
        num_kept = len(layout.key_branch_K) - len(layout.branch_T)
        own_key, own_value = key[:, :, num_kept:], value[:, :, num_kept:]
        kept = (key[:, :, :num_kept], value[:, :, :num_kept]) if num_kept else None
        found = attend(make(layout), query, own_key, own_value, rule, kept)
        masked = masked_attention(layout, query, key, value, rule)
        torch.testing.assert_close(found[:, real], masked[:, real], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("prefixes, limit", [([30, 9], 400), ([30], 40)])
def test_pytorch_takes_what_varlen_attention_gives_it_on_a_gpu(prefixes, limit, way):
    make, attend = WAYS[way]

    def on_gpu(value):
        if isinstance(value, torch.Tensor):
            return torch.empty(value.shape, dtype=value.dtype, device="cuda")
        if dataclasses.is_dataclass(value):
            return type(value)(*(on_gpu(getattr(value, f.name)) for f in dataclasses.fields(value)))
        return value

    for layout in layouts(prefixes, limit, FLEX_BLOCK):
        made = make(layout)
        num_tokens = len(layout.branch_T)
        num_kept = len(layout.key_branch_K) - num_tokens
        with FakeTensorMode():

            def heads(num, tokens):
                shape = (1, tokens, num, HEAD_SIZE)  # as a model's projections leave it
                return torch.empty(shape, dtype=torch.bfloat16, device="cuda").transpose(1, 2)

            query, key = heads(HEADS, num_tokens), heads(KEY_HEADS, num_tokens)
            kept = (heads(KEY_HEADS, num_kept), heads(KEY_HEADS, num_kept)) if num_kept else None
            out = attend(on_gpu(made), query, key, key, Rule(0.3), kept)
        assert out.shape == (1, num_tokens, HEADS, HEAD_SIZE)
        assert (out.dtype, out.device.type) == (torch.bfloat16, "cuda")


@pytest.mark.parametrize(
    "dtype, size, value_size, rule, expected",
    [
        (torch.bfloat16, 64, 64, Rule(1.0), True),
        (torch.float16, 256, 256, Rule(1.0, sinks_H=SINKS), True),
        (torch.float32, 64, 64, Rule(1.0), False),
        (torch.bfloat16, 320, 320, Rule(1.0), False),
        (torch.bfloat16, 20, 20, Rule(1.0), False),
        (torch.bfloat16, 192, 128, Rule(1.0), False),
        (torch.bfloat16, 64, 64, Rule(1.0, window=9), False),
        (torch.bfloat16, 64, 64, Rule(1.0, chunk=9), False),
        (torch.bfloat16, 64, 64, Rule(1.0, softcap=9.0), False),
    ],
)
def test_varlen_attention_is_for_what_its_kernel_takes(dtype, size, value_size, rule, expected):
    query, value = (torch.zeros(1, 2, 3, s, dtype=dtype) for s in (size, value_size))
    assert varlen.can_varlen(query, value, rule) is expected


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(
    "rule",
    [
        Rule(0.3),
        Rule(0.3, window=9),
        Rule(0.3, window=40, softcap=3.0),
        Rule(0.3, window=9, softcap=3.0, sinks_H=SINKS),
        Rule(0.3, chunk=25),
    ],
    ids=["full", "window", "softcap", "sinks", "chunk"],
)
@pytest.mark.parametrize("prefixes, limit", [([140], 1000), ([140], 160), ([13, 0, 4], 400)])
def test_flex_attention_is_the_masked_one(prefixes, limit, rule):
    for layout in layouts(prefixes, limit, FLEX_BLOCK):
        parts = states(layout)
        block_mask = make_block_mask(layout, rule.window, rule.chunk)
        flex = flex_tree_attention(block_mask, *parts, rule)
        masked = masked_attention(layout, *parts, rule)
        real = slice(0, layout.pack.num_tokens)
        torch.testing.assert_close(flex[:, real], masked[:, real], atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling for a CPU needs g++")
def test_a_new_pack_compiles_nothing_anew(monkeypatch):
    compiled = torch.compile(torch.nn.attention.flex_attention.flex_attention, dynamic=True)
    monkeypatch.setattr("nuggets_ray.score.kernels.flex.flex_attention", compiled)

    def attend(prefixes, limit, num_packs):
        found = layouts(prefixes, limit, FLEX_BLOCK, anchors=[60, 70, 80, 90])
        assert len(found) == num_packs
        for layout in found:
            parts = states(layout)
            flex = flex_tree_attention(make_block_mask(layout, None), *parts, Rule(0.3))
            masked = masked_attention(layout, *parts, Rule(0.3))
            real = slice(0, layout.pack.num_tokens)
            torch.testing.assert_close(flex[:, real], masked[:, real], atol=1e-4, rtol=1e-4)

    # Packs with keys of their own only, and packs with those of a kept demonstration too.
    # (no length in blocks that is a number of heads too: such a pair would count as one length)
    attend([600], 760, 2)
    with torch._dynamo.config.patch(error_on_recompile=True):
        attend([13, 0, 4], 2000, 1)
        attend([300, 50], 2000, 1)
        attend([500], 660, 2)


@pytest.mark.parametrize("window", [None, 1, 9, 130, 200])
@pytest.mark.parametrize(
    "prefixes, limit", [([140], 160), ([300, 0, 128, 5], 2000), ([1, 140], 400), ([0], 160)]
)
def test_the_block_mask_is_of_what_is_visible(prefixes, limit, window):
    for layout in layouts(prefixes, limit, FLEX_BLOCK, anchors=[7, 60, 128, 130, 256, 1]):
        seen = visible(layout, slice(None), window)
        seen_BQBK = seen.unflatten(1, (-1, FLEX_BLOCK)).unflatten(0, (-1, FLEX_BLOCK))
        full_BB = seen_BQBK.all(dim=3).all(dim=1).numpy()
        some_BB = seen_BQBK.any(dim=3).any(dim=1).numpy() & ~full_BB
        mask = make_block_mask(layout, window)
        for counts, numbers, wanted_BB in (
            (mask.kv_num_blocks, mask.kv_indices, some_BB),
            (mask.full_kv_num_blocks, mask.full_kv_indices, full_BB),
        ):
            for count, row, wanted_B in zip(counts[0, 0], numbers[0, 0], wanted_BB, strict=True):
                assert row[:count].tolist() == np.flatnonzero(wanted_B).tolist()


def test_the_block_mask_leaves_out_blocks_that_nobody_sees():
    packs = make_packs([128], [128, 128, 128], 1000)
    layout = make_layout(packs[0], 512, 0, torch.device("cpu"))
    block_mask = make_block_mask(layout, None)
    # Each anchor's block: the demonstration in full, itself in part, no other anchor.
    assert block_mask.full_kv_num_blocks.flatten().tolist() == [0, 1, 1, 1]
    assert block_mask.kv_num_blocks.flatten().tolist() == [1, 1, 1, 1]
    assert block_mask.kv_indices[0, 0, :, 0].tolist() == [0, 1, 2, 3]
