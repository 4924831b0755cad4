"""Stages: nothing, the first blocks, everything."""

import numpy as np

from nuggets_ray.schedule.seen import ALL, Seen, first_blocks

BLOCKS = [np.array([4, 1]), np.array([3])]


def test_a_stage_is_the_blocks_before_it() -> None:
    seen = Seen(np.zeros(2, np.int64), BLOCKS, lambda: [])
    assert [seen.met(stage, 5).tolist() for stage in (0, 1, 2)] == [[], [4, 1], [4, 1, 3]]
    assert seen.met(ALL, 5).tolist() == [0, 1, 2, 3, 4]
    assert first_blocks(BLOCKS, 2).dtype == np.int64
