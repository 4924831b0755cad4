"""What a sequence tells of itself as its tokens pass through the model: the log-prob of its own
answer (nuggets_ray/signals/perplexity.py), and its state, the position-weighted mean of its last
hidden states (nuggets_ray/signals/rds.py).

Legend: D sequences, T tokens of one, R rows of hidden states, E hidden size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from nuggets_ray.model.body import state_size
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
from nuggets_ray.score.transfer import to_device
from nuggets_ray.signals.rds import position_weights


@dataclass(frozen=True, slots=True)
class Own:
    """`answer_logprob_D` in nats per answer token (0.0 where there is none), float32; `state_DE`
    float32, None where it was not asked."""

    answer_logprob_D: np.ndarray
    state_DE: np.ndarray | None


class OwnSums:
    """Takes them down of sequences that pass in any order, in one forward or several."""

    def __init__(
        self, model: PreTrainedModel, sequences: Sequence[Encoding], with_states: bool
    ) -> None:
        self.sequences = list(sequences)
        self._sums_1D = zero_sums(model, 1, len(sequences))
        size = state_size(model) if with_states else 0
        shape = (len(sequences), size)
        self._state_DE = torch.zeros(shape, dtype=torch.float32, device=model.device)
        self.with_states = with_states

    def add(
        self,
        model: PreTrainedModel,
        output: Any,
        hidden_RE: torch.Tensor,
        starts: Sequence[tuple[int, int]],
    ) -> None:
        """Whole sequences of one forward: (which one, row of its first token). `output` is what
        `run_body` returned."""
        pieces = [(0, index, start, NO_ROW) for index, start in starts]
        rows = answer_rows(pieces, self.sequences)
        add_answer_log_probs(self._sums_1D, model, output, hidden_RE, rows)
        if not self.with_states:
            return
        for index, start in starts:
            num_tokens = self.sequences[index].num_tokens
            weight_T = to_device(position_weights(num_tokens), hidden_RE.device)
            self._state_DE[index] = weight_T @ hidden_RE[start : start + num_tokens].float()

    def means(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Log-probs (D,) and states (D, E), on the model's device: nothing waits for it."""
        no_prefix = [np.zeros(0, np.int64)]
        means_D = mean_log_probs(self._sums_1D, self.sequences, no_prefix)[0]
        return means_D, self._state_DE if self.with_states else None


def pass_alone(model: PreTrainedModel, own: OwnSums, max_batch_tokens: int) -> None:
    """Put the sequences of `own` through the model by themselves, in right-padded batches: for
    whoever does not meet them on the way to the anchors."""
    lengths = [sequence.num_tokens for sequence in own.sequences]
    same_length = not can_pad(model.config)
    for batch in make_batches(lengths, 0, max_batch_tokens, same_length):
        token_ids_NL, mask_NL = pad_rows([own.sequences[index].token_ids for index in batch])
        output = run_body(model, token_ids_NL, attention_mask=mask_NL, use_cache=False)
        hidden_RE = output.last_hidden_state.flatten(0, 1)
        row_tokens = token_ids_NL.shape[1]
        own.add(
            model, output, hidden_RE, [(index, n * row_tokens) for n, index in enumerate(batch)]
        )
