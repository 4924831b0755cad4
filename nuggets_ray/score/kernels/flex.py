"""Attention over a token tree by FlexAttention, compiled on a GPU: the tree and a sliding window or
chunk as a block mask, soft-cap and sinks applied to scores and outputs.

Legend: T packed tokens, K keys (kept demonstration first, then T), H query heads, D head size, B
blocks, N pieces of queries. Inputs are (1, heads, tokens, D).
"""

import functools
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, flex_attention

from nuggets_ray.score.kernels.rule import Rule, families, with_sinks
from nuggets_ray.score.pack import PADDING, Layout, Segment
from nuggets_ray.score.transfer import to_device

FLEX_BLOCK = 128


def flex_tree_attention(
    block_mask: BlockMask, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rule: Rule
) -> torch.Tensor:
    """Attention of shape (1, T, H, D) by FlexAttention, compiled on a GPU; the block mask holds
    tree and window, soft-cap and sinks are applied here.
    """
    attend: Callable[..., Any] = flex_attention
    if query.is_cuda:
        attend = _compiled_flex_attention()
    keywords = {
        "score_mod": None if rule.softcap is None else _cap(query, rule.softcap),
        "block_mask": block_mask,
        "scale": rule.scaling,
        "enable_gqa": query.shape[1] != key.shape[1],
    }
    if rule.sinks_H is None:
        return cast(torch.Tensor, attend(query, key, value, **keywords).transpose(1, 2))
    out, aux = attend(query, key, value, **keywords, return_aux=AuxRequest(lse=True))
    return with_sinks(out.transpose(1, 2), aux.lse.transpose(1, 2), rule.sinks_H)


def make_block_mask(layout: Layout, window: int | None, chunk: int | None = None) -> BlockMask:
    """The tree as a FlexAttention block mask; queries and keys must come in whole blocks of 128."""
    seen_BB, full_BB = _seen_blocks(layout, window, chunk)
    # A number in the closure becomes a symbol that FlexAttention cannot compile: a tensor does not.
    window_1 = None if window is None else layout.position_T.new_full((), window)
    chunk_1 = None if chunk is None else layout.position_T.new_full((), chunk)

    def mask_mod(b: Any, h: Any, q: Any, k: Any) -> torch.Tensor:
        position, key_position = layout.position_T[q], layout.key_position_K[k]
        distance = position - key_position
        branch = layout.key_branch_K[k]
        seen = (branch == layout.branch_T[q]) | (branch == layout.root_T[q])
        seen = seen & (distance >= 0)
        if chunk_1 is not None:
            seen = seen & (position // chunk_1 == key_position // chunk_1)
        return seen if window_1 is None else seen & (distance < window_1)

    device = layout.branch_T.device
    return BlockMask.from_kv_blocks(
        *_block_lists(seen_BB & ~full_BB, device),
        *_block_lists(full_BB, device),
        BLOCK_SIZE=FLEX_BLOCK,
        mask_mod=mask_mod,
        seq_lengths=(len(layout.branch_T), len(layout.key_branch_K)),
        compute_q_blocks=False,  # for the backward pass
    )


def _seen_blocks(
    layout: Layout, window: int | None, chunk: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Which blocks of keys each block of queries sees at all, and which in full: bool, both (query
    blocks, key blocks).

    From the segments' bounds, on the host: a segment's rows within a block see one run of its
    demonstration's keys and one of its own, all of them the ends of both.
    """
    rows_Nx2, runs_Nx2x2, common_Nx2x2 = _runs(layout, window, chunk)
    starts_B = np.arange(0, len(layout.key_branch_K), FLEX_BLOCK, dtype=np.int32)
    # pieces come in order of their blocks, and every block has some
    _, first_N = np.unique(rows_Nx2[:, 0] // FLEX_BLOCK, return_index=True)
    some_NB, all_NB = (_overlap(runs, starts_B) for runs in (runs_Nx2x2, common_Nx2x2))
    seen_BB: np.ndarray = np.logical_or.reduceat(some_NB > 0, first_N)
    full_BB: np.ndarray = np.logical_and.reduceat(all_NB == FLEX_BLOCK, first_N)
    return seen_BB, full_BB


def _runs(
    layout: Layout, window: int | None, chunk: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For N pieces of the queries, each of one segment and one block: its rows [start, stop); the
    keys that any of them sees, and those that all do, as two runs [start, stop) (N, 2, 2)."""
    num_kept = len(layout.key_branch_K) - len(layout.branch_T)
    reach = window or layout.max_tokens + len(layout.branch_T)
    before = {
        anchor.start: family.prefix_keys.start
        for family in families(layout)
        for anchor in family.anchors
    }
    tail = Segment(
        layout.pack.num_tokens, len(layout.branch_T) - layout.pack.num_tokens, 0, PADDING, None
    )
    rows: list[tuple[int, int]] = []
    seen: list[tuple[tuple[int, int], tuple[int, int]]] = []
    common: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for segment in (*layout.pack.segments, tail):
        prefix, own = before.get(segment.start, 0), num_kept + segment.start
        num_before = segment.first_position
        for start in _cuts(segment):
            stop = min(segment.stop, start // FLEX_BLOCK * FLEX_BLOCK + FLEX_BLOCK)
            first, last = start - segment.start, stop - 1 - segment.start
            # the lowest position that the first row sees, and the last
            low, high = (_lowest(num_before + row, reach, chunk) for row in (first, last))
            rows.append((start, stop))
            for runs, lowest, latest in ((seen, low, last), (common, high, first)):
                own_run = (own + max(0, lowest - num_before), own + latest + 1)
                runs.append(((prefix + min(lowest, num_before), prefix + num_before), own_run))
    return np.array(rows), np.array(seen, np.int32), np.array(common, np.int32)


def _lowest(position: int, reach: int, chunk: int | None) -> int:
    """The lowest position that is seen from one."""
    start_of_chunk = 0 if chunk is None else position // chunk * chunk
    return max(start_of_chunk, position - reach + 1)


def _cuts(segment: Segment) -> list[int]:
    """Where the segment's pieces begin: at its own start, and at each block's within it."""
    if not segment.num_tokens:
        return []
    first_block = (segment.start // FLEX_BLOCK + 1) * FLEX_BLOCK
    return [segment.start, *range(first_block, segment.stop, FLEX_BLOCK)]


def _overlap(runs_Nx2x2: np.ndarray, starts_B: np.ndarray) -> np.ndarray:
    """How many keys of each block are in the runs: (N, B)."""
    low, high = runs_Nx2x2[:, :, :1], runs_Nx2x2[:, :, 1:]
    inside = np.minimum(high, starts_B + FLEX_BLOCK) - np.maximum(low, starts_B)
    total: np.ndarray = np.maximum(inside, 0).sum(axis=1)
    return total


def _block_lists(blocks_BB: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """How many key blocks each query block has, and their numbers (the others after them)."""
    counts = blocks_BB.sum(axis=1, dtype=np.int32)
    numbers = np.argsort(~blocks_BB, axis=1, kind="stable").astype(np.int32)
    return to_device(counts, device)[None, None], to_device(numbers, device)[None, None]


def _cap(query: torch.Tensor, softcap: float) -> Callable[..., torch.Tensor]:
    softcap_1 = query.new_full((), softcap, dtype=torch.float32)  # new_tensor waits for the device

    def capped(score: torch.Tensor, b: Any, h: Any, q: Any, k: Any) -> torch.Tensor:
        return softcap_1 * torch.tanh(score / softcap_1)

    return capped


@functools.cache
def _compiled_flex_attention() -> Callable[..., Any]:
    # Dynamic shapes: packs differ in length, and a compilation for each would outlast the run.
    compiled: Callable[..., Any] = torch.compile(flex_attention, dynamic=True)
    return compiled
