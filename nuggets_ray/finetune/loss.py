"""The loss: summed negative log-prob of the answer tokens, projected on the vocabulary only there.

A micro-batch is padded on the right and needs no attention mask: a causal model's tokens never see
what follows them, and nothing is predicted from a pad. Labels go by position, never by token id
(pad equals eos in some tokenizers). Chunks of logits are computed again in the backward pass, so
that their size is bounded.

Legend: B rows, T tokens of the longest, R answer tokens, E hidden size, V vocabulary.
Alignment: the hidden state of token t - 1 predicts token t.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from nuggets_ray.finetune.rows import TrainRows
from nuggets_ray.model.body import body_of, body_returns

MAX_LOGITS_BYTES = 1 << 28
"""Float32 logits of one chunk; a micro-batch with fewer is not computed twice."""


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Token ids (B, T); for R answer tokens the flat index of the state before each, and its id.

    `weight` is 0.0 for a worker that has no rows in this slot: it goes through the same collective
    calls, with a loss of nothing.
    """

    token_ids_BT: torch.Tensor
    hidden_row_R: torch.Tensor
    target_R: torch.Tensor
    weight: float = 1.0

    def to(self, device: torch.device) -> "MicroBatch":
        """The same on another device."""
        tensors = (self.token_ids_BT, self.hidden_row_R, self.target_R)
        ids, rows, targets = (tensor.to(device, non_blocking=True) for tensor in tensors)
        return MicroBatch(ids, rows, targets, self.weight)


def collate(rows: TrainRows, indices: Sequence[int] | np.ndarray) -> MicroBatch:
    """Pad these rows on the right to the longest; without any, row 0 of weight 0."""
    chosen = [int(index) for index in indices] or [0]
    pairs = [rows.row(index) for index in chosen]
    length = max(len(ids) for ids, _ in pairs)
    # a pad repeats the row's last token: any id will do, and this one is always in the vocabulary
    ids_BT = np.stack([np.pad(ids, (0, length - len(ids)), mode="edge") for ids, _ in pairs])
    mask_BT = np.stack([np.pad(mask, (0, length - len(mask))) for _, mask in pairs])
    assert not mask_BT[:, 0].any(), "nothing predicts the first token of a row"
    answers_R = np.flatnonzero(mask_BT)
    return MicroBatch(
        torch.from_numpy(ids_BT.astype(np.int64)),
        torch.from_numpy(answers_R - 1),
        torch.from_numpy(ids_BT.reshape(-1)[answers_R].astype(np.int64)),
        weight=float(len(indices) > 0),
    )


def give_loss(model: Any) -> None:
    """Make `model(batch)` the loss of a MicroBatch: DeepSpeed trains what a module's call returns.

    The projection is the model's own `forward` with its body's output given, so that its scaling,
    bias and soft-cap count. NotImplementedError for a model without a body of its own.
    """
    body_of(model)
    own_forward = model.forward

    def forward(self: Any, batch: MicroBatch) -> torch.Tensor:
        output = body_of(self)(input_ids=batch.token_ids_BT, use_cache=False)
        hidden_RE = output.last_hidden_state.flatten(0, 1)[batch.hidden_row_R]

        def summed(hidden_E: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            given = type(output)(last_hidden_state=hidden_E[None])
            logits = _project(self, own_forward, given)
            return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="sum")

        chunk_rows = max(1, MAX_LOGITS_BYTES // (4 * self.config.get_text_config().vocab_size))
        parts_R = (hidden_RE.split(chunk_rows), batch.target_R.split(chunk_rows))
        chunks = list(zip(*parts_R, strict=True))
        if len(chunks) == 1:
            return summed(*chunks[0]) * batch.weight
        sums = [checkpoint(summed, *chunk, use_reentrant=False) for chunk in chunks]
        return torch.stack(sums).sum() * batch.weight

    model.forward = MethodType(forward, model)


def _project(model: Any, own_forward: Any, output: Any) -> torch.Tensor:
    """Logits (R, V): the model's own forward, its body returning `output` (1, R, E)."""
    hidden = output.last_hidden_state
    placeholder = torch.zeros(hidden.shape[:2], dtype=torch.long, device=hidden.device)
    with body_returns(model, output):
        logits: torch.Tensor = own_forward(input_ids=placeholder, use_cache=False).logits[0]
    return logits
