"""The tree engine: every demonstration token and every anchor token goes through the model once.

A pack is [demonstration | anchor a | anchor b | ...] (see pack.py), seen as a tree by attention.py.
Positions continue from the demonstration, so nothing is padded and no prefix is repeated.

Legend: T packed tokens, E hidden size, C candidates, A anchors.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from transformers import PreTrainedModel

from nuggets_ray.records import Encoding
from nuggets_ray.score.attention import tree_attention
from nuggets_ray.score.compiled import compiled_layers
from nuggets_ray.score.fused_products import fused_products
from nuggets_ray.score.head import (
    NO_ROW,
    add_answer_log_probs,
    answer_rows,
    mean_log_probs,
    run_body,
    zero_sums,
)
from nuggets_ray.score.own import OwnSums
from nuggets_ray.score.pack import Pack, make_packs
from nuggets_ray.score.speed import AS_IT_IS, Speed


def tree_log_probs(
    model: PreTrainedModel,
    anchors: Sequence[Encoding],
    prefixes: Sequence[np.ndarray],
    max_pack_tokens: int,
    own: OwnSums | None = None,
    speed: Speed = AS_IT_IS,
) -> torch.Tensor:
    """Mean log-prob of every anchor's answer after every prefix, in nats per answer token, (C, A)
    float32. `own` takes down what the prefixes tell of themselves; `speed` changes rounding alone.

    Raises TreeUnsupported where the model's attention cannot be a tree's.
    """
    sums_CA = zero_sums(model, len(prefixes), len(anchors))
    packs = make_packs(
        [len(prefix) for prefix in prefixes], [a.num_tokens for a in anchors], max_pack_tokens
    )
    if not packs:
        return mean_log_probs(sums_CA, anchors, prefixes)
    with tree_attention(model, speed) as state, _layers(model, speed):
        last_hidden_1E: torch.Tensor | None = None
        for pack in packs:
            layout = state.start(pack)
            token_ids_T = torch.zeros(len(layout.branch_T), dtype=torch.long)
            token_ids_T[: pack.num_tokens] = torch.from_numpy(_token_ids(pack, anchors, prefixes))
            output = run_body(
                model,
                token_ids_T[None],
                position_ids=layout.position_T[None],
                use_cache=False,
            )
            hidden_TE = output.last_hidden_state[0]
            if pack.keeps_prefix:
                last_hidden_1E = hidden_TE[pack.segments[0].stop - 1, None].clone()
            elif pack.kept_tokens and last_hidden_1E is not None:
                hidden_TE = torch.cat([hidden_TE, last_hidden_1E])
            if own is not None:
                starts = [(s.candidate, s.start) for s in pack.segments if s.is_prefix]
                own.add(model, output, hidden_TE, starts)
            rows = answer_rows(_pieces(pack, last_row=len(hidden_TE) - 1), anchors)
            add_answer_log_probs(
                sums_CA, model, output, hidden_TE, rows, is_compiled=speed.compile_head
            )
    return mean_log_probs(sums_CA, anchors, prefixes)


@contextmanager
def _layers(model: PreTrainedModel, speed: Speed) -> Iterator[None]:
    with ExitStack() as stack:
        if speed.fuse_products:
            stack.enter_context(fused_products(model))
        if speed.compile_layers:
            stack.enter_context(compiled_layers(model))
        yield


def _token_ids(
    pack: Pack, anchors: Sequence[Encoding], prefixes: Sequence[np.ndarray]
) -> np.ndarray:
    parts = [
        prefixes[s.candidate] if s.anchor is None else anchors[s.anchor].token_ids
        for s in pack.segments
    ]
    token_ids_T: np.ndarray = np.concatenate(parts).astype(np.int64)
    return token_ids_T


def _pieces(pack: Pack, last_row: int) -> list[tuple[int, int, int, int]]:
    """The pack's anchors for `answer_rows`; `last_row` is where a kept demonstration's last hidden
    state stands."""
    pieces = []
    row_before = last_row if pack.kept_tokens else NO_ROW
    for segment in pack.segments:
        if segment.anchor is None:
            row_before = segment.stop - 1
        else:
            before = row_before if segment.first_position else NO_ROW
            pieces.append((segment.candidate, segment.anchor, segment.start, before))
    return pieces
