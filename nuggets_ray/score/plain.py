"""The plain engine: whole [prefix | anchor] sequences in right-padded batches. Slow, and right for
any causal model.

Legend: N rows of a batch, L tokens of its longest, E hidden size, C candidates, A anchors.
"""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from nuggets_ray.records import Encoding
from nuggets_ray.score.batches import can_pad, make_batches, pad_rows
from nuggets_ray.score.head import (
    NO_ROW,
    add_answer_log_probs,
    answer_rows,
    mean_log_probs,
    run_body,
    zero_sums,
)
from nuggets_ray.score.own import OwnSums, pass_alone


def plain_log_probs(
    model: PreTrainedModel,
    anchors: Sequence[Encoding],
    prefixes: Sequence[np.ndarray],
    max_pack_tokens: int,
    own: OwnSums | None = None,
) -> torch.Tensor:
    """Mean log-prob of every anchor's answer after every prefix, in nats per answer token, (C, A)
    float32. For `own`, what the prefixes tell of themselves, they pass once more, alone."""
    if own is not None:
        pass_alone(model, own, max_pack_tokens)
    sums_CA = zero_sums(model, len(prefixes), len(anchors))
    lengths = [anchor.num_tokens for anchor in anchors]
    same_length = not can_pad(model.config)
    for candidate, prefix in enumerate(prefixes):
        for batch in make_batches(lengths, len(prefix), max_pack_tokens, same_length):
            rows = [
                np.concatenate([prefix, anchors[anchor].token_ids]).astype(np.int64)
                for anchor in batch
            ]
            token_ids_NL, mask_NL = pad_rows(rows)
            output = run_body(
                model,
                token_ids_NL,
                attention_mask=mask_NL,
                use_cache=False,
            )
            row_tokens = token_ids_NL.shape[1]
            starts = [n * row_tokens + len(prefix) for n in range(len(batch))]
            pieces = [
                (candidate, anchor, start, start - 1 if len(prefix) else NO_ROW)
                for anchor, start in zip(batch, starts, strict=True)
            ]
            hidden = output.last_hidden_state.flatten(0, 1)
            add_answer_log_probs(sums_CA, model, output, hidden, answer_rows(pieces, anchors))
    return mean_log_probs(sums_CA, anchors, prefixes)
