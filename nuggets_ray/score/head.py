"""From hidden states to mean log-probs: the vocabulary projection at answer positions only.

Alignment: the hidden state of token t - 1 predicts token t.
    tokens    p0 p1 p2 | a0 a1 a2 a3        p demonstration, a anchor
    answer     .  .  . |  .  .  x  x
    row of             |       a1 a2        so an anchor whose first token is an answer has row p2
The projection is the model's own (its scaling, soft-cap and bias), reached by letting the body
return given rows.

Legend: R answer rows, E hidden size, V vocabulary, C candidates, A anchors.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from nuggets_ray.model.body import body_of, body_returns
from nuggets_ray.records import Encoding
from nuggets_ray.score import compiled
from nuggets_ray.score.rope import forget_longer_sequences
from nuggets_ray.score.transfer import ids_to_device, to_device

NO_ROW = -1
CHUNK_ROWS = {"cpu": 128, "cuda": 1024}
"""Rows projected at once: on a CPU the logits of a chunk stay near the caches, on a GPU launches
are the cost."""


@dataclass(frozen=True, slots=True)
class AnswerRows:
    """Per answer token: the row of hidden states that predicts it, its id, its candidate and its
    anchor (int64)."""

    hidden_R: np.ndarray
    target_R: np.ndarray
    candidate_R: np.ndarray
    anchor_R: np.ndarray


def answer_rows(
    pieces: Iterable[tuple[int, int, int, int]], anchors: Sequence[Encoding]
) -> AnswerRows:
    """Rows of the anchors that lie in one forward.

    A piece is (candidate, anchor, row of the anchor's first token, row of the token before it or
    NO_ROW). Without a token before it, an anchor's first token has no prediction and is left out.
    """
    hidden, target, candidate, anchor = [], [], [], []
    for candidate_index, anchor_index, first_row, row_before in pieces:
        encoding = anchors[anchor_index]
        answers = scored_positions(encoding, has_prefix=row_before != NO_ROW)
        hidden.append(np.where(answers == 0, row_before, first_row + answers - 1))
        target.append(encoding.token_ids[answers])
        candidate.append(np.full(len(answers), candidate_index))
        anchor.append(np.full(len(answers), anchor_index))
    joined = (
        np.concatenate([np.empty(0, np.int64), *parts])
        for parts in (hidden, target, candidate, anchor)
    )
    return AnswerRows(*joined)


def scored_positions(anchor: Encoding, has_prefix: bool) -> np.ndarray:
    """Positions of the answer tokens that have a prediction: all, less the very first token of an
    empty prefix."""
    positions = np.flatnonzero(anchor.answer_mask)
    return positions if has_prefix else positions[positions > 0]


def zero_sums(model: PreTrainedModel, num_candidates: int, num_anchors: int) -> torch.Tensor:
    """Sums of log-probs to add to, (C, A) float64, on the model's device: nothing is fetched before
    the last pack has been started."""
    return torch.zeros(num_candidates, num_anchors, dtype=torch.float64, device=model.device)


def mean_log_probs(
    sums_CA: torch.Tensor, anchors: Sequence[Encoding], prefixes: Sequence[np.ndarray]
) -> torch.Tensor:
    """Sums of log-probs as means in nats per answer token, float32 of shape (C, A); 0.0 where
    nothing is scored."""
    counts = [
        [len(scored_positions(anchor, len(prefix) > 0)) for anchor in anchors]
        for prefix in prefixes
    ]
    # Nothing was added where nothing is scored: 0 / 1 is 0.
    counts_CA = np.maximum(np.array(counts, dtype=np.float64).reshape(sums_CA.shape), 1)
    return (sums_CA / to_device(counts_CA, sums_CA.device)).float()


def run_body(model: PreTrainedModel, input_ids: torch.Tensor, **keywords: Any) -> Any:
    """The model without its vocabulary projection, its inputs brought to its device;
    `last_hidden_state` of the result is (batch, tokens, E)."""
    body = body_of(model)
    forget_longer_sequences(model)
    inputs = {
        name: ids_to_device(value, model.device) if torch.is_tensor(value) else value
        for name, value in {"input_ids": input_ids, **keywords}.items()
    }
    return body(**inputs)


def add_answer_log_probs(
    sums_CA: torch.Tensor,
    model: PreTrainedModel,
    output: Any,
    hidden_TE: torch.Tensor,
    rows: AnswerRows,
    *,
    is_compiled: bool = False,
) -> None:
    """Add the log-probs of the answer tokens in `rows`, predicted from rows of `hidden_TE`, to (C,
    A) sums; `is_compiled`: the log-softmax as one compiled pass over the logits.

    `output` is what `run_body` returned: the projection gets its rows in an object of the same
    class.
    """
    if not len(rows.hidden_R):
        return
    device = hidden_TE.device
    pair_R = rows.candidate_R * sums_CA.shape[1] + rows.anchor_R
    hidden_R, target_R, pair_R = ids_to_device(
        np.stack([rows.hidden_R, rows.target_R, pair_R]), device
    )
    for start in range(0, len(rows.hidden_R), CHUNK_ROWS[device.type]):
        part = slice(start, start + CHUNK_ROWS[device.type])
        hidden_RE = hidden_TE[hidden_R[part]]
        logits_RV = _project(model, type(output)(last_hidden_state=hidden_RE[None]))
        of_targets = compiled_log_probs() if is_compiled else _log_probs
        # a copy: to torch.compile a view's place in its storage is one more length to match
        log_probs_R = of_targets(logits_RV, target_R[part].to(logits_RV.device, copy=True))
        sums_CA.view(-1).index_add_(0, pair_R[part], log_probs_R.to(device).double())


def _log_probs(logits_RV: torch.Tensor, target_R: torch.Tensor) -> torch.Tensor:
    """Of the targets, (R,) float32."""
    losses_R = torch.nn.functional.cross_entropy(logits_RV.float(), target_R, reduction="none")
    return -losses_R


@functools.cache
def compiled_log_probs() -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Log-probs of targets (R,) by logits (R, V), so compiled that neither float32 logits nor their
    log-softmax go through memory."""

    def log_probs(logits_RV: torch.Tensor, target_R: torch.Tensor) -> torch.Tensor:
        logits_RV = logits_RV.float()
        return logits_RV.gather(1, target_R[:, None])[:, 0] - logits_RV.logsumexp(dim=1)

    return torch.compile(log_probs, dynamic=True, backend=compiled.BACKEND)


def _project(model: PreTrainedModel, output: Any) -> torch.Tensor:
    hidden = output.last_hidden_state
    placeholder = torch.zeros(hidden.shape[:2], dtype=torch.long, device=hidden.device)
    with body_returns(model, output):
        logits: torch.Tensor = model(input_ids=placeholder, use_cache=False).logits[0]
    return logits
