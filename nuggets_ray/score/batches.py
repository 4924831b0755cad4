"""Right-padded batches of anchors, for the two engines that compute an anchor a row.

Legend: N rows (anchors) of a batch, L tokens of its longest, A anchors.
"""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedConfig

from nuggets_ray.score.rope import max_shared_tokens

PADDED_LAYER_TYPES = frozenset(
    {
        *("full_attention", "sliding_attention", "chunked_attention", "hybrid_sliding"),
        *("linear_attention", "recurrent", "conv", "hybrid", "mlp", "moe"),
    }
)
"""Layers that what stands behind a sequence does not change. Others (indexed and compressed
attention) choose what they see among all tokens of the forward, padding included."""


def can_pad(model_config: PreTrainedConfig) -> bool:
    """Whether sequences of different lengths may share a forward."""
    types = getattr(model_config.get_text_config(), "layer_types", None) or ()
    return max_shared_tokens(model_config) is None and PADDED_LAYER_TYPES.issuperset(types)


def make_batches(
    anchor_lengths: Sequence[int], prefix_tokens: int, max_batch_tokens: int, same_length: bool
) -> list[list[int]]:
    """Anchors of similar length together, so that (prefix + longest) x rows is at most
    `max_batch_tokens`.

    A row longer than the limit is a batch of its own; empty anchors are left out. `same_length`: no
    padding at all.
    """
    order = sorted(
        (a for a in range(len(anchor_lengths)) if anchor_lengths[a]),
        key=lambda a: anchor_lengths[a],
    )
    batches: list[list[int]] = []
    for anchor in order:
        row_tokens = prefix_tokens + anchor_lengths[anchor]
        fits = batches and (len(batches[-1]) + 1) * row_tokens <= max_batch_tokens
        if fits and not (same_length and anchor_lengths[batches[-1][0]] != anchor_lengths[anchor]):
            batches[-1].append(anchor)
        else:
            batches.append([anchor])
    return batches


def pad_rows(rows: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids of shape (N, L), 0 behind each row's end, and the mask of shape (N, L) that says
    which are real."""
    token_ids_NL = torch.zeros(len(rows), max(len(row) for row in rows), dtype=torch.long)
    mask_NL = torch.zeros_like(token_ids_NL)
    for n, row in enumerate(rows):
        token_ids_NL[n, : len(row)] = torch.from_numpy(row)
        mask_NL[n, : len(row)] = 1
    return token_ids_NL, mask_NL
