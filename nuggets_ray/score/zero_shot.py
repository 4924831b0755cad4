"""The baseline: the anchors with their zero-shot log-probs.

Legend: A anchors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nuggets_ray.records import Anchor


@dataclass(frozen=True, slots=True)
class ZeroShot:
    """The anchors (A of them) and their zero-shot log-probs, shape (A,), in nats per answer token;
    and the |delta| up to which a decision is a near tie, in the same unit: of each anchor (A,), or
    one for all.
    """

    anchors: tuple[Anchor, ...]
    zero_shot_A: np.ndarray
    noise_band_nats: np.ndarray | float = 0.0

    @property
    def num_tokens(self) -> int:
        """Real tokens of all anchors, those that one candidate is scored on."""
        return sum(anchor.encoding.num_tokens for anchor in self.anchors)

    @property
    def max_tokens(self) -> int:
        return max(anchor.encoding.num_tokens for anchor in self.anchors)

    def take(self, anchors: Sequence[int]) -> "ZeroShot":
        """The same of some anchors, in the order given."""
        taken, index = tuple(self.anchors[index] for index in anchors), list(anchors)
        band = self.noise_band_nats
        band = band[index] if isinstance(band, np.ndarray) else band
        return ZeroShot(taken, self.zero_shot_A[index], band)

    def self_anchor_index(self, content_id: str) -> int | None:
        """Which anchor the candidate itself is, if any."""
        ids = (anchor.content_id for anchor in self.anchors)
        return next((index for index, anchor_id in enumerate(ids) if anchor_id == content_id), None)
