"""Attention over a token tree on a GPU in half precision, by PyTorch's variable-length flash
attention: the halves of each anchor's softmax merged (see rule.py).

Nothing is compiled and nothing is padded: the lengths are data, so a new pack costs no start-up.

Legend: T packed tokens, A those that belong to anchors after a demonstration, P those of the
demonstrations they see, S segments, F families, H query heads, D head size. Inputs are (1, heads,
tokens, D).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch.nn.attention.varlen import AuxRequest, varlen_attn

from nuggets_ray.score.kernels.rule import Rule, families, with_sinks
from nuggets_ray.score.pack import Layout

MAX_HEAD_SIZE = 256


@dataclass(frozen=True, slots=True)
class Lengths:
    """Sequences side by side: where each begins, with the end of the last (int32), and the
    longest."""

    starts: torch.Tensor
    longest: int


@dataclass(frozen=True, slots=True)
class Spans:
    """A pack for this way: the sequences of its own halves, the rows of its anchors after
    demonstrations, those demonstrations' keys, and the sequences of both."""

    own_S: Lengths
    anchor_rows_A: torch.Tensor
    prefix_keys_P: torch.Tensor
    anchors_F: Lengths
    prefixes_F: Lengths


def can_varlen(query: torch.Tensor, value: torch.Tensor, rule: Rule) -> bool:
    """Whether the kernel takes these: half precision, a head size it knows, no window, no chunk
    and no soft-cap."""
    size = query.shape[-1]
    return (
        query.dtype in (torch.bfloat16, torch.float16)
        and size == value.shape[-1]
        and size % 8 == 0
        and size <= MAX_HEAD_SIZE
        and not rule.is_local
        and rule.softcap is None
    )


def make_spans(layout: Layout) -> Spans:
    """The pack's sequences on its device; padding after the last segment is a sequence of its
    own."""
    device = layout.branch_T.device
    after = [family for family in families(layout) if family.num_prefix_tokens]
    own = [segment.num_tokens for segment in layout.pack.segments]
    tail = len(layout.branch_T) - layout.pack.num_tokens
    return Spans(
        own_S=_lengths([*own, tail] if tail else own, device),
        anchor_rows_A=_indices((family.rows for family in after), device),
        prefix_keys_P=_indices((family.prefix_keys for family in after), device),
        anchors_F=_lengths([family.rows.stop - family.rows.start for family in after], device),
        prefixes_F=_lengths([family.num_prefix_tokens for family in after], device),
    )


def varlen_attention(
    spans: Spans, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rule: Rule
) -> torch.Tensor:
    """Attention of shape (1, T, H, D), in the inputs' dtype."""
    query_THD, key_KJD, value_KJD = (states[0].transpose(0, 1) for states in (query, key, value))
    num_kept = len(key_KJD) - len(query_THD)
    own_keys, own_values = key_KJD[num_kept:], value_KJD[num_kept:]
    out, lse = _attend(query_THD, own_keys, own_values, spans.own_S, spans.own_S, rule, True)
    if len(spans.anchor_rows_A):
        rows, prefix = spans.anchor_rows_A, spans.prefix_keys_P
        out_prefix, lse_prefix = _attend(
            query_THD[rows], key_KJD[prefix], value_KJD[prefix], spans.anchors_F, spans.prefixes_F,
            rule, False,
        )  # fmt: skip
        share = torch.sigmoid(lse_prefix - lse[rows])[..., None].to(out.dtype)
        out[rows] = torch.lerp(out[rows], out_prefix, share)
        lse[rows] = torch.logaddexp(lse[rows], lse_prefix)
    return (out if rule.sinks_H is None else with_sinks(out, lse, rule.sinks_H))[None]


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    queries: Lengths,
    keys: Lengths,
    rule: Rule,
    is_causal: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs (tokens, H, D) and logsumexps (tokens, H), float32."""
    out, lse = varlen_attn(
        query,
        key,
        value,
        queries.starts,
        keys.starts,
        queries.longest,
        keys.longest,
        return_aux=AuxRequest(lse=True),
        scale=rule.scaling,
        window_size=(-1, 0) if is_causal else (-1, -1),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return cast(torch.Tensor, out), cast(torch.Tensor, lse).transpose(0, 1)


def _lengths(lengths: Sequence[int], device: torch.device) -> Lengths:
    starts = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    return Lengths(starts.to(device, non_blocking=True), max(lengths, default=0))


def _indices(spans: Iterable[slice], device: torch.device) -> torch.Tensor:
    parts = [torch.arange(span.start, span.stop) for span in spans]
    return torch.cat([torch.empty(0, dtype=torch.long), *parts]).to(device, non_blocking=True)
