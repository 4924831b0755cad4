"""Attention over a token tree on a CPU in bfloat16: each anchor's softmax in one piece.

An anchor's keys are the demonstration's and its own, side by side, so that both products are plain
matrix products, which run at the bfloat16 rate; PyTorch's fused kernel runs at that of float32
(demo model, 200-token demonstration, one layer of a 4,096-token pack: 28 ms against 54 ms).

Legend: T packed tokens, Q queries, K keys they see, P demonstration tokens, J key heads, G query
heads of a key head, D head size. Inputs are (1, heads, tokens, D).
"""

import functools

import torch

from nuggets_ray.score.kernels.rule import Rule, families
from nuggets_ray.score.pack import Layout

MAX_QUERIES = 192
"""Queries computed at once: the scores stay in the caches, and keys after the last query are left
out."""


def joint_attention(
    layout: Layout, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rule: Rule
) -> torch.Tensor:
    """Attention of shape (1, T, H, D) without soft-cap, window and sinks, in the inputs' dtype."""
    num_kept = key.shape[2] - query.shape[2]
    key_JKD, value_JKD = key[0], value[0]
    query_TJGD = query[0].transpose(0, 1).unflatten(1, (len(key_JKD), -1))
    out_TJGD = torch.empty_like(query_TJGD, memory_format=torch.contiguous_format)

    for segment in layout.pack.segments:
        if segment.is_prefix:
            rows = slice(segment.start, segment.stop)
            own = slice(num_kept + segment.start, num_kept + segment.stop)
            out_TJGD[rows] = _attend(query_TJGD[rows], key_JKD[:, own], value_JKD[:, own], rule)
    for family in families(layout):
        size = family.num_prefix_tokens + max(anchor.num_tokens for anchor in family.anchors)
        keys_JKD, values_JKD = (
            s.new_empty(len(s), size, s.shape[-1]) for s in (key_JKD, value_JKD)
        )
        first = family.num_prefix_tokens
        keys_JKD[:, :first] = key_JKD[:, family.prefix_keys]
        values_JKD[:, :first] = value_JKD[:, family.prefix_keys]
        for anchor in family.anchors:
            rows = slice(anchor.start, anchor.stop)
            own = slice(num_kept + anchor.start, num_kept + anchor.stop)
            stop = first + anchor.num_tokens
            keys_JKD[:, first:stop] = key_JKD[:, own]
            values_JKD[:, first:stop] = value_JKD[:, own]
            seen = slice(0, stop)
            out_TJGD[rows] = _attend(query_TJGD[rows], keys_JKD[:, seen], values_JKD[:, seen], rule)
    return out_TJGD.flatten(1, 2)[None]


def _attend(
    query_QJGD: torch.Tensor, key_JKD: torch.Tensor, value_JKD: torch.Tensor, rule: Rule
) -> torch.Tensor:
    """Causal attention of the last Q of K tokens, (Q, J, G, D)."""
    num_queries, num_groups = query_QJGD.shape[0], query_QJGD.shape[2]
    num_before = key_JKD.shape[1] - num_queries
    outs = []
    for start in range(0, num_queries, MAX_QUERIES):
        stop = min(start + MAX_QUERIES, num_queries)
        seen = slice(0, num_before + stop)
        # (J, Q * G, D): a key head's query heads are rows of one product.
        rows = query_QJGD[start:stop].transpose(0, 1).flatten(1, 2)
        mask = _mask(num_before + start, stop - start, num_groups, rows.dtype)
        scores = torch.baddbmm(mask, rows, key_JKD[:, seen].transpose(1, 2), alpha=rule.scaling)
        out = torch.bmm(scores.softmax(-1), value_JKD[:, seen])
        outs.append(out.unflatten(1, (-1, num_groups)).transpose(0, 1))
    return outs[0] if len(outs) == 1 else torch.cat(outs)


def _mask(num_before: int, num_queries: int, num_groups: int, dtype: torch.dtype) -> torch.Tensor:
    """0 where each query (G rows of it) sees a key, else -inf: (1, Q * G, K)."""
    wide = 1 << num_before.bit_length()
    mask = _wide_mask(MAX_QUERIES, wide, num_groups, dtype)
    return mask[None, : num_queries * num_groups, wide - num_before : wide + num_queries]


@functools.lru_cache(maxsize=16)
def _wide_mask(
    num_queries: int, num_before: int, num_groups: int, dtype: torch.dtype
) -> torch.Tensor:
    mask = torch.full((num_queries, num_before + num_queries), -torch.inf, dtype=dtype)
    return mask.triu(num_before + 1).repeat_interleave(num_groups, 0)
