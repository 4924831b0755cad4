"""Seconds of the rounds, kept with the attempt."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nuggets_ray.run.funnel import round_times
from nuggets_ray.run.manifest import Run, read_manifest
from nuggets_ray.run.round_times import RoundTimes


def test_planning_and_the_end_of_a_round_count_as_waiting(tmp_path: Path) -> None:
    moments: Iterator[float] = iter([0.0, 2.0, 12.0, 13.0, 16.0])
    idle: Iterator[float] = iter([0.0, 6.0, 6.0, 6.0])
    with Run(str(tmp_path), "score") as run:
        times = RoundTimes(run, 3, clock=lambda: next(moments))
        with times.of(0, lambda: next(idle)):
            pass
        with pytest.raises(KeyboardInterrupt), times.of(1, lambda: next(idle)):
            raise KeyboardInterrupt
    manifest = read_manifest(str(tmp_path))
    assert manifest is not None
    # 2 s of planning and 6 worker-seconds of three workers; then 1 s of planning
    assert round_times(manifest) == {0: (12.0, 4.0), 1: (4.0, 1.0)}
