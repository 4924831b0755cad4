"""Attention over a token tree on a GPU in half precision, by PyTorch's variable-length flash
attention, in one of two ways.

    merge     one call over each segment's own keys, one over the demonstrations', and the halves of
              each anchor's softmax merged (see rule.py)
    gather    one call, each anchor's keys behind a copy of its demonstration's; a causal mask ends
              with the last key
Nothing is compiled and nothing is padded: the lengths are data, so a new pack costs no start-up.

Legend: T packed tokens, A those that belong to anchors after a demonstration, P those of the
demonstrations they see, G gathered keys, S segments, F families, H query heads, J key heads, D head
size. Inputs are (1, heads, tokens, D); `kept` are keys and values of a demonstration that an
earlier pack held.
"""

import functools
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch.nn.attention.varlen import AuxRequest, varlen_attn

from nuggets_ray.score.kernels.rule import Rule, families, with_sinks
from nuggets_ray.score.pack import Layout
from nuggets_ray.score.transfer import ids_to_device, to_device

MAX_HEAD_SIZE = 256
FLASH_CAPABILITY = (8, 0)
"""Of NVIDIA's GPUs, from Ampere on."""
ASKS_FOR_GQA = "enable_gqa" in inspect.signature(varlen_attn).parameters
"""torch 2.11 shares key heads unasked and knows no such keyword."""

Kept = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Lengths:
    """Sequences side by side: where each begins, with the end of the last (int32), and the
    longest."""

    starts: torch.Tensor
    longest: int


@dataclass(frozen=True, slots=True)
class Spans:
    """A pack for the merge: the sequences of its own halves, the rows of its anchors after
    demonstrations, those demonstrations' keys, and the sequences of both."""

    own_S: Lengths
    anchor_rows_A: torch.Tensor
    prefix_keys_P: torch.Tensor
    anchors_F: Lengths
    prefixes_F: Lengths


@dataclass(frozen=True, slots=True)
class Gathered:
    """A pack for the gather: which keys stand side by side, and the sequences of queries and of
    those."""

    keys_G: torch.Tensor
    queries_S: Lengths
    keys_S: Lengths


def can_varlen(query: torch.Tensor, value: torch.Tensor, rule: Rule) -> bool:
    """Whether the kernel takes these: a GPU that has it, half precision, a head size it knows, no
    window, no chunk and no soft-cap."""
    size = query.shape[-1]
    return (
        query.dtype in (torch.bfloat16, torch.float16)
        and size == value.shape[-1]
        and size % 8 == 0
        and size <= MAX_HEAD_SIZE
        and not rule.is_local
        and rule.softcap is None
        and (not query.is_cuda or has_flash(query.device))
    )


@functools.cache
def has_flash(device: torch.device) -> bool:
    """Whether PyTorch's flash attention is made for this GPU."""
    return torch.cuda.get_device_capability(device) >= FLASH_CAPABILITY


def make_spans(layout: Layout) -> Spans:
    """The pack's sequences on its device; padding after the last segment is a sequence of its
    own."""
    device = layout.branch_T.device
    after = [family for family in families(layout) if family.num_prefix_tokens]
    return Spans(
        own_S=_lengths(_own_lengths(layout), device),
        anchor_rows_A=_indices((family.rows for family in after), device),
        prefix_keys_P=_indices((family.prefix_keys for family in after), device),
        anchors_F=_lengths([family.rows.stop - family.rows.start for family in after], device),
        prefixes_F=_lengths([family.num_prefix_tokens for family in after], device),
    )


def make_gathered(layout: Layout) -> Gathered:
    """The same for the gather."""
    device = layout.branch_T.device
    num_kept = len(layout.key_branch_K) - len(layout.branch_T)
    prefix_of = {
        anchor.start: family.prefix_keys for family in families(layout) for anchor in family.anchors
    }
    keys, lengths = [], []
    for segment in layout.pack.segments:
        own = slice(num_kept + segment.start, num_kept + segment.stop)
        keys += [prefix_of.get(segment.start, slice(0, 0)), own]
        lengths.append(segment.first_position + segment.num_tokens)
    own_lengths = _own_lengths(layout)
    tail = own_lengths[len(lengths) :]
    keys += [slice(num_kept + layout.pack.num_tokens, len(layout.key_branch_K))] * len(tail)
    return Gathered(
        keys_G=_indices(keys, device),
        queries_S=_lengths(own_lengths, device),
        keys_S=_lengths([*lengths, *tail], device),
    )


def merged_attention(
    spans: Spans,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    rule: Rule,
    kept: Kept | None = None,
) -> torch.Tensor:
    """Attention of shape (1, T, H, D), in the inputs' dtype."""
    query_THD, key_TJD, value_TJD = map(_tokens_first, (query, key, value))
    out, lse = _attend(query_THD, key_TJD, value_TJD, spans.own_S, spans.own_S, rule, True)
    rows, prefix = spans.anchor_rows_A, spans.prefix_keys_P
    if len(rows):
        if kept is None:
            key_PJD, value_PJD = (one.index_select(0, prefix) for one in (key_TJD, value_TJD))
        else:  # of one candidate, padded behind
            key_PJD, value_PJD = (_tokens_first(one).narrow(0, 0, len(prefix)) for one in kept)
        parts = (query_THD.index_select(0, rows), key_PJD, value_PJD)
        out_prefix, lse_prefix = _attend(*parts, spans.anchors_F, spans.prefixes_F, rule, False)
        out_own, lse_own = out.index_select(0, rows), lse.index_select(0, rows)
        share = torch.sigmoid(lse_prefix - lse_own).unsqueeze(-1).to(out.dtype)
        out.index_copy_(0, rows, torch.lerp(out_own, out_prefix, share))
        if rule.sinks_H is not None:
            lse = lse.index_copy(0, rows, torch.logaddexp(lse_own, lse_prefix))
    return (out if rule.sinks_H is None else with_sinks(out, lse, rule.sinks_H)).unsqueeze(0)


def gathered_attention(
    gathered: Gathered,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    rule: Rule,
    kept: Kept | None = None,
) -> torch.Tensor:
    """Attention of shape (1, T, H, D), in the inputs' dtype."""
    if kept is not None:
        key, value = (torch.cat(both, dim=2) for both in zip(kept, (key, value), strict=True))
    key_GJD, value_GJD = (
        _tokens_first(states).index_select(0, gathered.keys_G) for states in (key, value)
    )
    sequences = (gathered.queries_S, gathered.keys_S)
    out, lse = _attend(_tokens_first(query), key_GJD, value_GJD, *sequences, rule, True)
    return (out if rule.sinks_H is None else with_sinks(out, lse, rule.sinks_H)).unsqueeze(0)


def _tokens_first(states: torch.Tensor) -> torch.Tensor:
    """(1, heads, tokens, D) as (tokens, heads, D), without a copy."""
    return states.squeeze(0).transpose(0, 1)


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
    shares_keys: dict[str, Any] = {}
    if ASKS_FOR_GQA:
        shares_keys["enable_gqa"] = query.shape[1] != key.shape[1]
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
        **shares_keys,
    )
    return cast(torch.Tensor, out), cast(torch.Tensor, lse).transpose(0, 1)


def _own_lengths(layout: Layout) -> list[int]:
    own = [segment.num_tokens for segment in layout.pack.segments]
    tail = len(layout.branch_T) - layout.pack.num_tokens
    return [*own, tail] if tail else own


def _lengths(lengths: Sequence[int], device: torch.device) -> Lengths:
    starts = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    return Lengths(to_device(starts, device), max(lengths, default=0))


def _indices(spans: Iterable[slice], device: torch.device) -> torch.Tensor:
    parts = [torch.arange(span.start, span.stop) for span in spans]
    return ids_to_device(torch.cat([torch.empty(0, dtype=torch.long), *parts]), device)
