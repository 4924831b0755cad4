"""Three ways to compute attention over a token tree: fused on a CPU, with an explicit mask, and
FlexAttention.

The fused way splits every anchor's softmax in two, over the demonstration and over the anchor
itself, and merges the halves by their logsumexp: out = out_self + sigmoid(lse_prefix - lse_self) *
(out_prefix - out_self) (Hydragen's decomposition, arXiv 2402.05099). An attention sink is one more
logit in the denominator.

Legend: T packed tokens, K keys (kept demonstration first, then T), Q a slice of the T queries, H
query heads, J key heads, D head size, N anchors of one length, L that length, B blocks. Inputs are
(1, heads, tokens, D).
"""

import functools
import itertools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, flex_attention

from nuggets_ray.score.pack import Layout, Segment, visible

FLEX_BLOCK = 128
MAX_MASKED_SCORES = 2**24
"""Most attention scores that the masked way holds at once (64 MiB of float32)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a layer does with its attention scores: scale, sliding window, soft-cap, sinks of shape
    (H,)."""

    scaling: float
    window: int | None = None
    softcap: float | None = None
    sinks_H: torch.Tensor | None = None


def fused_attention(
    layout: Layout, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rule: Rule
) -> torch.Tensor:
    """Attention of shape (1, T, H, D) by PyTorch's fused CPU kernel, without soft-cap and window.

    In float32 whatever the model's dtype: this kernel is no slower in it (measured where the CPU
    has avx512_bf16), and deltas move by an eighth less.
    """
    num_heads, num_tokens, head_size = query.shape[1:]
    num_kept = key.shape[2] - num_tokens
    query = query.float()
    key, value = _repeat_heads(key.float(), num_heads), _repeat_heads(value.float(), num_heads)
    out = query.new_empty(1, num_tokens, num_heads, head_size)
    lse = query.new_empty(1, num_tokens, num_heads)
    for rows, length in _runs(layout.pack.segments):
        own = slice(num_kept + rows.start, num_kept + rows.stop)
        parts = (
            _fold(query[:, :, rows], length),
            _fold(key[:, :, own], length),
            _fold(value[:, :, own], length),
        )
        out_NHLD, lse_NHL = _fused(*parts, rule.scaling, is_causal=True)
        out[:, rows] = out_NHLD.transpose(1, 2).reshape(1, -1, num_heads, head_size)
        lse[:, rows] = lse_NHL.transpose(1, 2).reshape(1, -1, num_heads)
    for rows, prefix in _families(layout):
        part = _fused(
            query[:, :, rows], key[:, :, prefix], value[:, :, prefix], rule.scaling, is_causal=False
        )
        out_prefix, lse_prefix = part[0].transpose(1, 2), part[1].transpose(1, 2)
        share = torch.sigmoid(lse_prefix - lse[:, rows])[..., None]
        out[:, rows] += share * (out_prefix - out[:, rows])
        lse[:, rows] = torch.logaddexp(lse[:, rows], lse_prefix)
    return out if rule.sinks_H is None else _with_sinks(out, lse, rule.sinks_H)


def masked_attention(
    layout: Layout, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rule: Rule
) -> torch.Tensor:
    """Attention of shape (1, T, H, D) with every rule, in float32, a slice of queries at a time."""
    num_heads, num_tokens = query.shape[1:3]
    num_key_heads, num_keys = key.shape[1:3]
    # (J, H / J, tokens, D): the query heads of a key head beside each other.
    query = query[0].float().unflatten(0, (num_key_heads, -1))
    key, value = key[0, :, None].float(), value[0, :, None].float()
    num_queries = max(1, MAX_MASKED_SCORES // (num_heads * num_keys))
    outs = []
    for start in range(0, num_tokens, num_queries):
        queries = slice(start, start + num_queries)
        scores = query[:, :, queries] @ key.transpose(2, 3) * rule.scaling
        if rule.softcap is not None:
            scores = rule.softcap * torch.tanh(scores / rule.softcap)
        scores = scores.masked_fill(~visible(layout, queries, rule.window), -torch.inf)
        out_HQD = (scores.softmax(-1) @ value).flatten(0, 1)
        if rule.sinks_H is not None:
            lse_HQ = scores.logsumexp(-1).flatten(0, 1)
            out_HQD = out_HQD * torch.sigmoid(lse_HQ - rule.sinks_H.float()[:, None])[..., None]
        outs.append(out_HQD.transpose(0, 1))
    return torch.cat(outs)[None].to(value.dtype)


def flex_tree_attention(
    block_mask: BlockMask, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rule: Rule
) -> torch.Tensor:
    """Attention of shape (1, T, H, D) by FlexAttention, compiled on a GPU; the block mask holds
    tree and window, soft-cap and sinks are applied here.
    """
    attend: Callable[..., Any] = flex_attention
    if query.is_cuda:
        attend = _compiled_flex_attention()
    out, aux = attend(
        query,
        key,
        value,
        score_mod=None if rule.softcap is None else _cap(query, rule.softcap),
        block_mask=block_mask,
        scale=rule.scaling,
        enable_gqa=query.shape[1] != key.shape[1],
        return_aux=AuxRequest(lse=True),
    )
    out = out.transpose(1, 2)
    if rule.sinks_H is not None:
        out = _with_sinks(out, aux.lse.transpose(1, 2), rule.sinks_H)
    return cast(torch.Tensor, out)


def make_block_mask(layout: Layout, window: int | None) -> BlockMask:
    """The tree as a FlexAttention block mask; queries and keys must come in whole blocks of 128."""
    num_queries, num_keys = len(layout.branch_T), len(layout.key_branch_K)
    partial_rows, full_rows = [], []
    for start in range(0, num_queries, FLEX_BLOCK):
        seen_QK = visible(layout, slice(start, start + FLEX_BLOCK), window)
        seen_QBK = seen_QK.unflatten(1, (-1, FLEX_BLOCK))
        full_B = seen_QBK.all(dim=2).all(dim=0)
        full_rows.append(full_B)
        partial_rows.append(seen_QBK.any(dim=2).any(dim=0) & ~full_B)

    # A number in the closure becomes a symbol that FlexAttention cannot compile: a tensor does not.
    window_1 = None if window is None else layout.position_T.new_tensor(window)

    def mask_mod(b: Any, h: Any, q: Any, k: Any) -> torch.Tensor:
        distance = layout.position_T[q] - layout.key_position_K[k]
        branch = layout.key_branch_K[k]
        seen = (branch == layout.branch_T[q]) | (branch == layout.root_T[q])
        seen = seen & (distance >= 0)
        return seen if window_1 is None else seen & (distance < window_1)

    partial, full = (_block_lists(torch.stack(rows)) for rows in (partial_rows, full_rows))
    return BlockMask.from_kv_blocks(
        *partial,
        *full,
        BLOCK_SIZE=FLEX_BLOCK,
        mask_mod=mask_mod,
        seq_lengths=(num_queries, num_keys),
    )


def _block_lists(blocks_BB: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How many key blocks each query block has, and their numbers (the others after them)."""
    counts = blocks_BB.sum(dim=1, dtype=torch.int32)
    numbers = blocks_BB.to(torch.int32).argsort(dim=1, descending=True, stable=True).to(torch.int32)
    return counts[None, None], numbers[None, None]


def _cap(query: torch.Tensor, softcap: float) -> Callable[..., torch.Tensor]:
    softcap_1 = query.new_tensor(softcap, dtype=torch.float32)

    def capped(score: torch.Tensor, b: Any, h: Any, q: Any, k: Any) -> torch.Tensor:
        return softcap_1 * torch.tanh(score / softcap_1)

    return capped


@functools.cache
def _compiled_flex_attention() -> Callable[..., Any]:
    # Dynamic shapes: packs differ in length, and a compilation for each would outlast the run.
    compiled: Callable[..., Any] = torch.compile(flex_attention, dynamic=True)
    return compiled


def _fused(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float, is_causal: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    out, lse = attention(query, key, value, 0.0, is_causal, scale=scaling)
    return out, lse


def _with_sinks(out: torch.Tensor, lse: torch.Tensor, sinks_H: torch.Tensor) -> torch.Tensor:
    share: torch.Tensor = torch.sigmoid(lse - sinks_H.float())[..., None]
    scaled: torch.Tensor = out * share.to(out.dtype)
    return scaled


def _repeat_heads(states: torch.Tensor, num_heads: int) -> torch.Tensor:
    num_groups = num_heads // states.shape[1]
    return states if num_groups == 1 else states.repeat_interleave(num_groups, dim=1)


def _fold(states: torch.Tensor, length: int) -> torch.Tensor:
    """(1, H, N * L, D) as (N, H, L, D), without a copy."""
    folded: torch.Tensor = states[0].unflatten(1, (-1, length)).transpose(0, 1)
    return folded


def _runs(segments: tuple[Segment, ...]) -> list[tuple[slice, int]]:
    """Neighbouring anchors of one length, each demonstration alone: their rows and that length."""
    runs = []
    kind = operator.attrgetter("is_prefix", "num_tokens")
    for (_, length), group in itertools.groupby(segments, key=kind):
        members = list(group)
        runs.append((slice(members[0].start, members[-1].stop), length))
    return runs


def _families(layout: Layout) -> list[tuple[slice, slice]]:
    """Of every candidate with a demonstration: its anchors' rows and the demonstration's keys."""
    families = []
    for _, group in itertools.groupby(layout.pack.segments, key=lambda s: s.candidate):
        members = list(group)
        anchors = [segment for segment in members if not segment.is_prefix]
        if anchors and anchors[0].first_position:
            start = 0 if layout.pack.kept_tokens else members[0].start
            prefix = slice(start, start + anchors[0].first_position)
            families.append((slice(anchors[0].start, anchors[-1].stop), prefix))
    return families
