"""Which tokens go through the model together, and which of them see which: a pack as a token tree.

A pack is [demonstration | anchor a | anchor b | ...]. Every token is on a branch (its
demonstration's or its anchor's own) and has a root (its candidate's demonstration): it sees both,
up to its own position. Anchors that do not fit follow in further packs, for which the
demonstration's keys are kept.

Legend: T packed tokens, K keys (kept demonstration first, then T), Q a slice of the T queries.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from nuggets_ray.score.transfer import to_device

PADDING = -1


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of packed tokens: a candidate's demonstration (anchor None), or an anchor after it."""

    start: int
    num_tokens: int
    first_position: int
    candidate: int
    anchor: int | None

    @property
    def is_prefix(self) -> bool:
        return self.anchor is None

    @property
    def stop(self) -> int:
        return self.start + self.num_tokens


@dataclass(frozen=True, slots=True)
class Pack:
    """Segments that go through the model together.

    `kept_tokens` is the length of the demonstration whose keys come from an earlier pack (0: none);
    such a pack holds anchors of one candidate only. `keeps_prefix` says that a later pack needs
    this pack's demonstration.
    """

    segments: tuple[Segment, ...]
    kept_tokens: int
    keeps_prefix: bool

    @property
    def num_tokens(self) -> int:
        return self.segments[-1].stop


@dataclass(frozen=True, slots=True)
class Layout:
    """A pack on the device: branch, root and position (int32) of every query and every key."""

    pack: Pack
    branch_T: torch.Tensor
    root_T: torch.Tensor
    position_T: torch.Tensor
    key_branch_K: torch.Tensor
    key_position_K: torch.Tensor
    max_tokens: int
    """The longest demonstration with its anchor: a sliding window of this size or more changes
    nothing."""


def make_packs(
    prefix_lengths: Sequence[int], anchor_lengths: Sequence[int], max_pack_tokens: int
) -> list[Pack]:
    """Lay every candidate's demonstration and anchors out in packs of at most `max_pack_tokens`.

    Anchors go in order of length, so that equal ones stand side by side; empty ones are left out. A
    segment longer than the limit has a pack of its own. Several candidates share a pack only where
    each fits whole; one that does not is cut into packs of about equal size.
    """
    order = sorted(
        (a for a in range(len(anchor_lengths)) if anchor_lengths[a]),
        key=lambda a: anchor_lengths[a],
    )
    ordered = [anchor_lengths[anchor] for anchor in order]
    num_anchor_tokens = sum(ordered)
    packs: list[Pack] = []
    segments: list[Segment] = []
    for candidate, prefix_length in enumerate(prefix_lengths):
        used = segments[-1].stop if segments else 0
        if segments and used + prefix_length + num_anchor_tokens > max_pack_tokens:
            packs.append(Pack(tuple(segments), 0, False))
            segments, used = [], 0
        kept_tokens = 0
        limit = _equal_limit(prefix_length, ordered, max_pack_tokens)
        if prefix_length:
            segments.append(Segment(used, prefix_length, 0, candidate, None))
            used += prefix_length
        for anchor in order:
            if segments and used + anchor_lengths[anchor] > limit:
                packs.append(
                    Pack(tuple(segments), kept_tokens, prefix_length > 0 and kept_tokens == 0)
                )
                segments, used, kept_tokens = [], 0, prefix_length
            segments.append(Segment(used, anchor_lengths[anchor], prefix_length, candidate, anchor))
            used += anchor_lengths[anchor]
        if kept_tokens:
            packs.append(Pack(tuple(segments), kept_tokens, False))
            segments = []
    return [*packs, Pack(tuple(segments), 0, False)] if segments else packs


def _equal_limit(prefix_length: int, lengths: Sequence[int], max_pack_tokens: int) -> int:
    """The smallest limit that cuts a candidate into as few packs as `max_pack_tokens` does."""

    def num_packs(limit: int) -> int:
        packs, used = 1, prefix_length
        for length in lengths:
            if used and used + length > limit:
                packs, used = packs + 1, 0
            used += length
        return packs

    fewest = num_packs(max_pack_tokens)
    if fewest == 1:
        return max_pack_tokens
    # more room never makes more packs
    limits = range(1, max_pack_tokens)
    return 1 + bisect.bisect_left(limits, -fewest, key=lambda limit: -num_packs(limit))


def make_layout(pack: Pack, num_tokens: int, num_kept_keys: int, device: torch.device) -> Layout:
    """The pack's branches, roots and positions on `device`.

    `num_tokens` >= pack.num_tokens and `num_kept_keys` >= pack.kept_tokens: what is beyond is
    padding, which sees and is seen by nothing but itself.
    """
    segments = pack.segments
    tail = num_tokens - pack.num_tokens
    lengths = torch.tensor([*(segment.num_tokens for segment in segments), tail])
    # A demonstration's branch is its candidate's number; anchors are numbered after all of them.
    num_roots = segments[-1].candidate + 1
    branches = [s.candidate if s.anchor is None else num_roots + n for n, s in enumerate(segments)]
    branch_T = torch.tensor([*branches, PADDING], dtype=torch.int32).repeat_interleave(lengths)
    roots = [segment.candidate for segment in segments]
    root_T = torch.tensor([*roots, PADDING], dtype=torch.int32).repeat_interleave(lengths)
    positions = [torch.arange(s.first_position, s.first_position + s.num_tokens) for s in segments]
    position_T = torch.cat([*positions, torch.arange(tail)]).to(torch.int32)
    kept_branch = torch.full((num_kept_keys,), PADDING - 1, dtype=torch.int32)
    kept_branch[: pack.kept_tokens] = segments[0].candidate
    kept_position = torch.arange(num_kept_keys, dtype=torch.int32)
    return Layout(
        pack=pack,
        branch_T=to_device(branch_T, device),
        root_T=to_device(root_T, device),
        position_T=to_device(position_T, device),
        key_branch_K=to_device(torch.cat([kept_branch, branch_T]), device),
        key_position_K=to_device(torch.cat([kept_position, position_T]), device),
        max_tokens=max(segment.first_position + segment.num_tokens for segment in segments),
    )


def visible(
    layout: Layout, queries: slice, window: int | None, chunk: int | None = None
) -> torch.Tensor:
    """Which key each query of the slice sees: bool of shape (Q, K).

    `window` is a sliding window in positions: a token sees itself and the window - 1 positions
    before. `chunk`: a token sees the positions before it of its own chunk.
    """
    branch_Q1 = layout.branch_T[queries, None]
    root_Q1 = layout.root_T[queries, None]
    distance_QK = layout.position_T[queries, None] - layout.key_position_K
    seen_QK = (layout.key_branch_K == branch_Q1) | (layout.key_branch_K == root_Q1)
    seen_QK &= distance_QK >= 0
    if window is not None:
        seen_QK &= distance_QK < window
    if chunk is not None:
        seen_QK &= layout.position_T[queries, None] // chunk == layout.key_position_K // chunk
    return seen_QK
