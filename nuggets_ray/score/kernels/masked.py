"""Attention over a token tree with an explicit mask: every rule, in float32, on a CPU.

Legend: T packed tokens, Q a slice of the T queries, H query heads, J key heads, D head size. Inputs
are (1, heads, tokens, D).
"""

import torch

from nuggets_ray.score.kernels.rule import Rule
from nuggets_ray.score.pack import Layout, visible

MAX_SCORES = 2**24
"""Most attention scores held at once (64 MiB of float32)."""


def masked_attention(
    layout: Layout, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rule: Rule
) -> torch.Tensor:
    """Attention of shape (1, T, H, D) with every rule, in float32, a slice of queries at a time."""
    num_heads, num_tokens = query.shape[1:3]
    num_key_heads, num_keys = key.shape[1:3]
    # (J, H / J, tokens, D): the query heads of a key head beside each other.
    query = query[0].float().unflatten(0, (num_key_heads, -1))
    key, value = key[0, :, None].float(), value[0, :, None].float()
    num_queries = max(1, MAX_SCORES // (num_heads * num_keys))
    outs = []
    for start in range(0, num_tokens, num_queries):
        queries = slice(start, start + num_queries)
        scores = query[:, :, queries] @ key.transpose(2, 3) * rule.scaling
        if rule.softcap is not None:
            scores = rule.softcap * torch.tanh(scores / rule.softcap)
        scores = scores.masked_fill(~visible(layout, queries, rule.window, rule.chunk), -torch.inf)
        out_HQD = (scores.softmax(-1) @ value).flatten(0, 1)
        if rule.sinks_H is not None:
            lse_HQ = scores.logsumexp(-1).flatten(0, 1)
            out_HQD = out_HQD * torch.sigmoid(lse_HQ - rule.sinks_H.float()[:, None])[..., None]
        outs.append(out_HQD.transpose(0, 1))
    return torch.cat(outs)[None].to(value.dtype)
