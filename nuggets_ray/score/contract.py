"""What the stages need of a scoring backend, and nothing more: score.backend=transformers
(engine.py) and score.backend=vllm (vllm_engine.py) both offer it.

Legend: C candidates, A anchors.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from nuggets_ray.records import Encoding
from nuggets_ray.score.own import Own


class DeviceLost(Exception):
    """The device, or the process that drives it, is gone: only a new worker can go on."""


class ScoringEngine(Protocol):
    """A model replica with its anchors.

    `name` and `why` say how log-probs are computed and what was checked at start; `max_pack_tokens`
    is the most tokens of one forward now; `details` is what else the manifest says of it,
    `warnings` among it; `counts` are totals since the start, which the manifest adds up over the
    workers.
    """

    name: str
    why: str
    max_pack_tokens: int
    details: dict[str, Any]
    counts: dict[str, int]

    def use_anchors(self, anchors: Sequence[Encoding]) -> None:
        """Score on these from now on: some of those that the engine was made for, or all."""
        ...

    def log_probs(self, prefixes: Sequence[np.ndarray]) -> np.ndarray:
        """Mean log-prob of every anchor's answer after every prefix: (C, A) float32, nats per
        answer token; 0.0 where nothing is scored.

        Raises ValueError for a prefix that cannot be scored, DeviceLost when nothing can be any
        more.
        """
        ...

    def log_probs_and_own(
        self, demonstrations: Sequence[Encoding], with_states: bool
    ) -> tuple[np.ndarray, Own]:
        """`log_probs` after demonstrations, and what they tell of themselves."""
        ...

    def own(self, sequences: Sequence[Encoding], with_states: bool) -> Own:
        """What sequences tell of themselves, without any anchor. Raises ValueError for one that
        cannot be computed, and for states where there are none to be had."""
        ...

    def peak_memory_bytes(self) -> int:
        """Of the device; on a CPU of this process."""
        ...
