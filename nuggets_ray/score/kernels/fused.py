"""Attention over a token tree on a CPU by PyTorch's fused kernel, in float32: the halves of each
anchor's softmax merged (see rule.py).

Legend: T packed tokens, H query heads, D head size, N anchors of one length, L that length. Inputs
are (1, heads, tokens, D).
"""

import itertools
import operator

import torch

from nuggets_ray.score.kernels.rule import Rule, families, with_sinks
from nuggets_ray.score.pack import Layout, Segment


def fused_attention(
    layout: Layout, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rule: Rule
) -> torch.Tensor:
    """Attention of shape (1, T, H, D) in float32 whatever the inputs' dtype, without soft-cap and
    window."""
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
    for family in families(layout):
        if not family.num_prefix_tokens:
            continue
        rows, prefix = family.rows, family.prefix_keys
        part = _fused(
            query[:, :, rows], key[:, :, prefix], value[:, :, prefix], rule.scaling, is_causal=False
        )
        out_prefix, lse_prefix = part[0].transpose(1, 2), part[1].transpose(1, 2)
        share = torch.sigmoid(lse_prefix - lse[:, rows])[..., None]
        out[:, rows] += share * (out_prefix - out[:, rows])
        lse[:, rows] = torch.logaddexp(lse[:, rows], lse_prefix)
    return out if rule.sinks_H is None else with_sinks(out, lse, rule.sinks_H)


def _fused(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float, is_causal: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    out, lse = attention(query, key, value, 0.0, is_causal, scale=scaling)
    return out, lse


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
