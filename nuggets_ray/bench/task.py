"""What passes between the bench and its worker processes: the task at the start, then runs.

Imports little, so that it loads in any contender's environment.

Legend: C candidates, A anchors.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


class NotMeasured(Exception):
    """A contender cannot run here; the message says how it could."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker loads: a contender's `kind` (contenders.LOADERS) in `dtype` (bfloat16 or
    float32) with `model_path` (a folder, a hub id or a name of random_models.SIZES), on `device`
    with `threads` CPU threads, and the works as Work.to_json gives them.
    """

    kind: str
    dtype: str
    model_path: str
    revision: str | None
    trust_remote_code: bool
    device: str
    threads: int
    max_pack_tokens: int | None
    works: tuple[dict[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run: CPU seconds of the process and its children, wall seconds, the process's largest
    resident set, and the GPU allocator's peak (0 without a GPU), in GiB."""

    cpu_s: float
    wall_s: float
    peak_gib: float
    gpu_peak_gib: float


@dataclass(frozen=True, slots=True)
class TaskRun:
    """What a run gave: its cost, log-probs (C, A), the FLOP that it could not avoid (None where
    the model is not ours to look into), and what the contender counted."""

    cost: Cost
    log_probs_CA: np.ndarray
    useful_flop: float | None
    counts: Mapping[str, int]
