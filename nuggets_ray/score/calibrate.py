"""What one replica shows of itself: the zero-shot log-probs, its speed, its engine, its memory."""

import itertools
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nuggets_ray.score.contract import ScoringEngine


@dataclass(frozen=True, slots=True)
class Measured:
    """Zero-shot log-probs (A,), speed in tokens/s, what engine_facts says, peak memory (of the
    GPU, or of the process on a CPU) in GiB, and the GPU's short name ("": computed on a CPU).
    `one_shot_CA`: log-probs behind further prefixes that were asked for.
    """

    zero_shot_A: np.ndarray
    tokens_per_s: float
    engine: dict[str, Any]
    peak_memory_gib: float
    gpu_name: str = ""
    one_shot_CA: np.ndarray | None = None


def measure_engine(
    engine: ScoringEngine,
    num_anchor_tokens: int,
    zero_shot_prefix: np.ndarray,
    demonstrations: Sequence[np.ndarray],
    duration_s: float,
    gpu_name: str = "",
) -> Measured:
    """Zero-shot log-probs and speed of `engine`, whose anchors have `num_anchor_tokens` in all.

    The speed is taken over `duration_s` of scoring behind `demonstrations` (token ids, each in
    turn), or behind the zero-shot prefix where there are none.
    """
    zero_shot_A = engine.log_probs([zero_shot_prefix])[0]
    num_tokens = 0
    prefixes = itertools.cycle(demonstrations or [zero_shot_prefix])
    started = time.perf_counter()
    while num_tokens == 0 or time.perf_counter() - started < duration_s:
        prefix = next(prefixes)
        engine.log_probs([prefix])
        num_tokens += len(prefix) + num_anchor_tokens
    tokens_per_s = num_tokens / (time.perf_counter() - started)
    peak_memory_gib = engine.peak_memory_bytes() / 2**30
    facts = engine_facts(engine)
    return Measured(zero_shot_A, tokens_per_s, facts, peak_memory_gib, short_gpu_name(gpu_name))


def spread_rows(num_tokens_N: np.ndarray, num: int) -> np.ndarray:
    """At most `num` of N rows, spread evenly over their lengths, shortest first."""
    by_length = np.argsort(num_tokens_N, kind="stable")
    num = min(num, len(by_length))
    # the middle of each of `num` equal shares, so that the mean length is the data's
    rows: np.ndarray = by_length[((np.arange(num) + 0.5) * len(by_length) / num).astype(int)]
    return rows


def engine_facts(engine: ScoringEngine) -> dict[str, Any]:
    """What log and manifest say of an engine."""
    size = engine.max_pack_tokens
    return {"engine": engine.name, "why": engine.why, "max_pack_tokens": size, **engine.details}


def short_gpu_name(name: str) -> str:
    """What people call a GPU: H100 for "NVIDIA H100 80GB HBM3"."""
    without_maker = re.sub(r"\b(NVIDIA|AMD|Tesla|Instinct|GeForce|Radeon)\b", " ", name)
    without_size = re.split(r"-(?=[A-Z])|\s\d+\s?GB\b", without_maker.strip(), maxsplit=1)[0]
    return " ".join(without_size.split())
