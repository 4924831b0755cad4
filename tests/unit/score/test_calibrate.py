"""What a replica shows of itself, and on which rows."""

from collections.abc import Sequence
from itertools import count

import numpy as np
import pytest

from nuggets_ray.score import calibrate
from nuggets_ray.score.calibrate import (
    engine_facts,
    measure_engine,
    short_gpu_name,
    spread_rows,
)

ZERO_SHOT = np.array([7, 8, 9])


class FakeEngine:
    """A ScoringEngine that notes what it is asked."""

    name, why, max_pack_tokens = "fake", "no other", 64

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.details: dict[str, object] = {}
        self.asked: list[list[int]] = []

    def log_probs(self, prefixes: Sequence[np.ndarray]) -> np.ndarray:
        self.asked += [prefix.tolist() for prefix in prefixes]
        return np.array([[-1.0, float(-len(prefix))] for prefix in prefixes], np.float32)

    def peak_memory_bytes(self) -> int:
        return 3 << 29


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second passes at each look at the clock."""
    ticks = count()
    monkeypatch.setattr(calibrate.time, "perf_counter", lambda: float(next(ticks)))


def test_the_speed_is_of_demonstrations_in_turn() -> None:
    engine = FakeEngine()
    demonstrations = [np.array([1]), np.array([2, 2])]
    measured = measure_engine(engine, 10, ZERO_SHOT, demonstrations, duration_s=3.0)
    assert engine.asked == [[7, 8, 9], [1], [2, 2], [1]]
    # 11 + 12 + 11 tokens from the first look at the clock to the fourth
    assert measured.tokens_per_s == pytest.approx(34 / 4)
    assert measured.zero_shot_A.tolist() == [-1.0, -3.0]
    assert measured.peak_memory_gib == 1.5
    assert measured.engine == engine_facts(engine)
    facts = {"engine": "fake", "why": "no other", "max_pack_tokens": 64}
    assert engine_facts(engine) == facts
    engine.details["warnings"] = ["slow"]
    assert engine_facts(engine) == {**facts, "warnings": ["slow"]}


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("AMD Instinct MI300X", "MI300X"),
        ("", ""),
    ],
)
def test_a_gpu_is_called_what_people_call_it(name: str, short: str) -> None:
    measured = measure_engine(FakeEngine(), 10, ZERO_SHOT, [], duration_s=0.0, gpu_name=name)
    assert measured.gpu_name == short_gpu_name(name) == short


def test_without_demonstrations_the_zero_shot_prefix_stands_in() -> None:
    engine = FakeEngine()
    measure_engine(engine, 10, ZERO_SHOT, [], duration_s=0.0)
    assert engine.asked == [[7, 8, 9], [7, 8, 9]], "once at least"


def test_rows_are_spread_over_the_lengths() -> None:
    num_tokens_N = np.array([50, 10, 30, 20, 40, 60])
    assert num_tokens_N[spread_rows(num_tokens_N, 3)].tolist() == [20, 40, 60]
    assert num_tokens_N[spread_rows(num_tokens_N, 99)].tolist() == [10, 20, 30, 40, 50, 60]
    assert abs(num_tokens_N[spread_rows(num_tokens_N, 2)].mean() - num_tokens_N.mean()) <= 5
