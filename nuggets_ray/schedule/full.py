"""The full schedule: every candidate meets every anchor. Cuts the candidates into blocks of equal
work.

A block is the unit that one worker computes, writes and can lose. Its work is taken as proportional
to its tokens: a candidate costs its demonstration and all the anchors.
"""

import logging

import numpy as np

logger = logging.getLogger(__name__)

BLOCK_BYTES = 2**26
"""Of a block's answers, which its worker holds in memory and writes at once."""


def most_rows(block_rows: int | None, num_anchors: int) -> int:
    """The candidates of a block at most: `block_rows`, but never more than BLOCK_BYTES of float32
    answers, which is a warning where more was asked."""
    fitting = max(1, BLOCK_BYTES // (4 * max(1, num_anchors)))
    if block_rows is not None and block_rows > fitting:
        logger.warning(
            "score.block_rows=%d: a block of %d anchors holds %d rows, %d MiB of log-probs",
            *(block_rows, num_anchors, fitting, BLOCK_BYTES // 2**20),
        )
    return min(block_rows or fitting, fitting)


def plan_blocks(
    num_tokens_N: np.ndarray, max_block_tokens: float, max_block_rows: int, num_workers: int
) -> list[np.ndarray]:
    """Cut candidates 0..N-1 into blocks of consecutive indices, balanced by tokens.

    `num_tokens_N` is the cost of each candidate in tokens, shape (N,). A block holds at most about
    `max_block_tokens`, at most `max_block_rows` candidates and at least one; where that gives too
    few blocks to keep `num_workers` busy to the end, blocks are made smaller: at least four a
    worker, as far as there are candidates. Returns index arrays that cover every candidate once, in
    order.
    """
    if len(num_tokens_N) == 0:
        return []
    total = float(num_tokens_N.sum())
    block_tokens = min(max_block_tokens, total / (4 * num_workers))
    end_N = np.cumsum(num_tokens_N, dtype=np.float64)
    middle_N = end_N - num_tokens_N / 2
    num_blocks = max(1, int(np.ceil(total / block_tokens)))
    block_N = np.minimum((middle_N / total * num_blocks).astype(np.int64), num_blocks - 1)
    blocks = [
        b for b in np.split(np.arange(len(block_N)), np.flatnonzero(np.diff(block_N)) + 1) if len(b)
    ]
    return [
        piece
        for block in blocks
        for piece in np.array_split(block, int(np.ceil(len(block) / max_block_rows)))
    ]
