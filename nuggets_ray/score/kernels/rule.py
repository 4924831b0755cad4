"""What a layer does with its attention scores, and which rows of a pack meet which keys: shared by
every way to compute a token tree's attention.

The ways that split a softmax in two, over the demonstration and over the anchor itself, merge the
halves by their logsumexp: out = out_self + sigmoid(lse_prefix - lse_self) * (out_prefix - out_self)
(Hydragen's decomposition, arXiv 2402.05099). An attention sink is one more logit in the
denominator.

Legend: H query heads.
"""

import itertools
from dataclasses import dataclass

import torch

from nuggets_ray.score.pack import Layout, Segment


@dataclass(frozen=True, slots=True)
class Rule:
    """What a layer does with its attention scores: scale, sliding window, soft-cap, sinks of shape
    (H,), and the chunk that a token sees (Llama 4)."""

    scaling: float
    window: int | None = None
    softcap: float | None = None
    sinks_H: torch.Tensor | None = None
    chunk: int | None = None

    @property
    def is_local(self) -> bool:
        """Some earlier tokens are not seen."""
        return self.window is not None or self.chunk is not None


@dataclass(frozen=True, slots=True)
class Family:
    """A candidate in a pack: its demonstration's keys (kept ones first; empty without one) and its
    anchors."""

    prefix_keys: slice
    anchors: tuple[Segment, ...]

    @property
    def rows(self) -> slice:
        """Where the anchors' tokens are, one after the other."""
        return slice(self.anchors[0].start, self.anchors[-1].stop)

    @property
    def num_prefix_tokens(self) -> int:
        return self.anchors[0].first_position


def families(layout: Layout) -> list[Family]:
    """Every candidate of the pack that has anchors in it."""
    groups = []
    num_kept = len(layout.key_branch_K) - len(layout.branch_T)
    for _, group in itertools.groupby(layout.pack.segments, key=lambda s: s.candidate):
        members = list(group)
        anchors = tuple(segment for segment in members if not segment.is_prefix)
        if anchors:
            start = 0 if layout.pack.kept_tokens else num_kept + members[0].start
            groups.append(Family(slice(start, start + anchors[0].first_position), anchors))
    return groups


def with_sinks(out: torch.Tensor, lse: torch.Tensor, sinks_H: torch.Tensor) -> torch.Tensor:
    """Outputs (..., H, D) of a softmax with logsumexp (..., H), as if each head had a sink."""
    share: torch.Tensor = torch.sigmoid(lse - sinks_H.float())[..., None]
    scaled: torch.Tensor = out * share.to(out.dtype)
    return scaled
