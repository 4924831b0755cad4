"""Attention over a token tree by FlexAttention, compiled on a GPU: the tree and a sliding window as
a block mask, soft-cap and sinks applied to scores and outputs.

Legend: T packed tokens, K keys (kept demonstration first, then T), Q a slice of the T queries, H
query heads, D head size, B blocks. Inputs are (1, heads, tokens, D).
"""

import functools
from collections.abc import Callable
from typing import Any, cast

import torch
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, flex_attention

from nuggets_ray.score.kernels.rule import Rule, with_sinks
from nuggets_ray.score.pack import Layout, visible

FLEX_BLOCK = 128


def flex_tree_attention(
    block_mask: BlockMask, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rule: Rule
) -> torch.Tensor:
    """Attention of shape (1, T, H, D) by FlexAttention, compiled on a GPU; the block mask holds
    tree and window, soft-cap and sinks are applied here.
    """
    attend: Callable[..., Any] = flex_attention
    if query.is_cuda:
        attend = _compiled_flex_attention()
    keywords = {
        "score_mod": None if rule.softcap is None else _cap(query, rule.softcap),
        "block_mask": block_mask,
        "scale": rule.scaling,
        "enable_gqa": query.shape[1] != key.shape[1],
    }
    if rule.sinks_H is None:
        return cast(torch.Tensor, attend(query, key, value, **keywords).transpose(1, 2))
    out, aux = attend(query, key, value, **keywords, return_aux=AuxRequest(lse=True))
    return with_sinks(out.transpose(1, 2), aux.lse.transpose(1, 2), rule.sinks_H)


def make_block_mask(layout: Layout, window: int | None, chunk: int | None = None) -> BlockMask:
    """The tree as a FlexAttention block mask; queries and keys must come in whole blocks of 128."""
    num_queries, num_keys = len(layout.branch_T), len(layout.key_branch_K)
    partial_rows, full_rows = [], []
    for start in range(0, num_queries, FLEX_BLOCK):
        seen_QK = visible(layout, slice(start, start + FLEX_BLOCK), window, chunk)
        seen_QBK = seen_QK.unflatten(1, (-1, FLEX_BLOCK))
        full_B = seen_QBK.all(dim=2).all(dim=0)
        full_rows.append(full_B)
        partial_rows.append(seen_QBK.any(dim=2).any(dim=0) & ~full_B)

    # A number in the closure becomes a symbol that FlexAttention cannot compile: a tensor does not.
    window_1 = None if window is None else layout.position_T.new_tensor(window)
    chunk_1 = None if chunk is None else layout.position_T.new_tensor(chunk)

    def mask_mod(b: Any, h: Any, q: Any, k: Any) -> torch.Tensor:
        position, key_position = layout.position_T[q], layout.key_position_K[k]
        distance = position - key_position
        branch = layout.key_branch_K[k]
        seen = (branch == layout.branch_T[q]) | (branch == layout.root_T[q])
        seen = seen & (distance >= 0)
        if chunk_1 is not None:
            seen = seen & (position // chunk_1 == key_position // chunk_1)
        return seen if window_1 is None else seen & (distance < window_1)

    partial, full = (_block_lists(torch.stack(rows)) for rows in (partial_rows, full_rows))
    return BlockMask.from_kv_blocks(
        *partial,
        *full,
        BLOCK_SIZE=FLEX_BLOCK,
        mask_mod=mask_mod,
        seq_lengths=(num_queries, num_keys),
        compute_q_blocks=False,  # for the backward pass
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
