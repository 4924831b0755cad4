"""The KV-cache engine: the demonstration once, its cache expanded over right-padded batches of
anchors.

For models whose attention cannot be a tree (ALiBi). Not for recurrent state or convolutions, whose
state after the demonstration is no list of keys.

Legend: N rows of a batch, L tokens of its longest, P demonstration tokens, E hidden size, C
candidates, A anchors.
"""

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from nuggets_ray.model.body import body_of
from nuggets_ray.records import Encoding
from nuggets_ray.score.batches import make_batches, pad_rows
from nuggets_ray.score.head import (
    NO_ROW,
    add_answer_log_probs,
    answer_rows,
    mean_log_probs,
    run_body,
    zero_sums,
)
from nuggets_ray.score.own import OwnSums


def kv_cache_log_probs(
    model: PreTrainedModel,
    anchors: Sequence[Encoding],
    prefixes: Sequence[np.ndarray],
    max_pack_tokens: int,
    own: OwnSums | None = None,
) -> torch.Tensor:
    """Mean log-prob of every anchor's answer after every prefix, in nats per answer token, (C, A)
    float32. `own` takes down what the prefixes tell of themselves."""
    sums_CA = zero_sums(model, len(prefixes), len(anchors))
    lengths = [anchor.num_tokens for anchor in anchors]
    for candidate, prefix in enumerate(prefixes):
        cache, last_hidden_1E = None, None
        if len(prefix):
            ahead = _prefill(model, prefix)
            cache, last_hidden_1E = ahead.past_key_values, ahead.last_hidden_state[0, -1:]
            if own is not None:
                own.add(model, ahead, ahead.last_hidden_state[0], [(candidate, 0)])
        for batch in make_batches(lengths, len(prefix), max_pack_tokens, same_length=False):
            output, row_tokens = _run_batch(
                model, [anchors[a].token_ids for a in batch], len(prefix), cache
            )
            hidden = output.last_hidden_state.flatten(0, 1)
            row_before = NO_ROW
            if last_hidden_1E is not None:
                row_before = len(hidden)
                hidden = torch.cat([hidden, last_hidden_1E])
            pieces = [
                (candidate, anchor, n * row_tokens, row_before) for n, anchor in enumerate(batch)
            ]
            add_answer_log_probs(sums_CA, model, output, hidden, answer_rows(pieces, anchors))
    return mean_log_probs(sums_CA, anchors, prefixes)


def takes_positions(model: PreTrainedModel) -> bool:
    """Whether the body takes `position_ids` (a model with ALiBi, say, does not)."""
    return "position_ids" in inspect.signature(body_of(model).forward).parameters


def _prefill(model: PreTrainedModel, prefix: np.ndarray) -> Any:
    """What the body returns of the demonstration, its cache included."""
    return run_body(model, torch.from_numpy(prefix.astype(np.int64))[None], use_cache=True)


def _run_batch(
    model: PreTrainedModel, token_ids: Sequence[np.ndarray], prefix_tokens: int, cache: Any
) -> tuple[Any, int]:
    token_ids_NL, mask_NL = pad_rows(token_ids)
    keywords: dict[str, Any] = {"use_cache": False}
    if cache is not None:
        expanded = copy.deepcopy(cache)
        expanded.batch_repeat_interleave(len(token_ids))
        keywords = {"use_cache": True, "past_key_values": expanded}
    mask = torch.cat([torch.ones(len(token_ids), prefix_tokens, dtype=torch.long), mask_NL], dim=1)
    if takes_positions(model):
        positions = torch.arange(prefix_tokens, prefix_tokens + token_ids_NL.shape[1])
        keywords["position_ids"] = positions.expand_as(token_ids_NL)
    output = run_body(model, token_ids_NL, attention_mask=mask, **keywords)
    return output, token_ids_NL.shape[1]
