"""Blocks cover every candidate once, in order, and are balanced by tokens."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuggets_ray.schedule.full import most_rows, plan_blocks


@given(
    tokens=st.lists(st.integers(1, 3000), max_size=300),
    max_block_tokens=st.floats(1, 1e6),
    max_block_rows=st.integers(1, 500),
    num_workers=st.integers(1, 9),
)
def test_every_candidate_is_in_one_block(
    tokens: list[int], max_block_tokens: float, max_block_rows: int, num_workers: int
) -> None:
    blocks = plan_blocks(np.array(tokens, np.int64), max_block_tokens, max_block_rows, num_workers)
    assert [i for block in blocks for i in block] == list(range(len(tokens)))
    assert all(len(block) for block in blocks)
    assert all(len(block) <= max_block_rows for block in blocks)


def test_blocks_are_balanced_by_tokens_not_rows() -> None:
    tokens = np.array([100] * 900 + [1000] * 90)
    blocks = plan_blocks(tokens, 9000.0, 10**6, 2)
    work = [int(tokens[block].sum()) for block in blocks]
    assert len(blocks) == 20
    assert max(work) - min(work) <= 1000
    assert max(map(len, blocks)) >= 8 * min(map(len, blocks))


def test_a_small_run_keeps_all_workers_busy() -> None:
    assert len(plan_blocks(np.full(40, 10), 1e9, 10**6, 5)) == 20
    assert len(plan_blocks(np.full(3, 10), 1e9, 10**6, 5)) == 3


def test_a_block_is_no_larger_than_a_worker_can_hold(caplog: pytest.LogCaptureFixture) -> None:
    assert most_rows(None, 1000) == 16_777 and most_rows(20, 1000) == 20
    assert most_rows(None, 0) > 10**6 and most_rows(None, 10**9) == 1
    assert caplog.text == ""
    assert most_rows(50_000, 1000) == 16_777
    assert "score.block_rows=50000: a block of 1000 anchors holds 16777 rows" in caplog.text
