"""What a race has seen: who races over which anchors, and the deltas computed so far.

Every row met nothing, the first blocks of anchors, or everything; that number is its stage, ALL
where it met every anchor. A row may be an anchor itself: that one delta is NaN.

Legend: N candidates, M anchors, S anchors of a block.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

ALL = -1


@dataclass(frozen=True, slots=True)
class Entrants:
    """Who races over what: `hash_N` the seeded hash of each content_id, `demo_tokens_N` the tokens
    of each candidate's demonstration, `anchor_tokens_M` those that an anchor costs after it;
    `rounding_M` the rounding noise of an anchor's deltas in nats, NaN where it is not known (None:
    of none)."""

    hash_N: np.ndarray
    demo_tokens_N: np.ndarray
    anchor_tokens_M: np.ndarray
    rounding_M: np.ndarray | None = None

    @property
    def num_candidates(self) -> int:
        return len(self.hash_N)

    @property
    def num_anchors(self) -> int:
        return len(self.anchor_tokens_M)


@dataclass(frozen=True, slots=True)
class SeenPart:
    """Deltas of `rows` (n,) on `anchors` (S,), in nats, (n, S); NaN where a row is the anchor."""

    rows: np.ndarray
    anchors: np.ndarray
    delta: np.ndarray


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was computed: `stage_N` (N,), the `blocks` of anchors in the order they are met,
    and `parts`, which gives the deltas in pieces that fit in memory each time it is called."""

    stage_N: np.ndarray
    blocks: Sequence[np.ndarray]
    parts: Callable[[], Iterable[SeenPart]]

    def met(self, stage: int, num_anchors: int) -> np.ndarray:
        """The anchors that a row of this stage met."""
        return np.arange(num_anchors) if stage == ALL else first_blocks(self.blocks, stage)


def first_blocks(blocks: Sequence[np.ndarray], num_blocks: int) -> np.ndarray:
    """The anchors of the first blocks, in the order they are met."""
    none = np.zeros(0, np.int64)
    met: np.ndarray = np.concatenate([none, *blocks[:num_blocks]]).astype(np.int64)
    return met
