"""From hidden states to mean log-probs: the vocabulary projection at answer positions only.

Alignment: the hidden state of token t - 1 predicts token t.
    tokens    p0 p1 p2 | a0 a1 a2 a3        p demonstration, a anchor
    answer     .  .  . |  .  .  x  x
    row of             |       a1 a2        so an anchor whose first token is an answer has row p2
The projection is the model's own (its scaling, soft-cap and bias), reached by letting the body
return given rows.

Legend: R answer rows, E hidden size, V vocabulary, C candidates, A anchors.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from nuggets_ray.records import Encoding
from nuggets_ray.score.rope import forget_longer_sequences

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


def mean_log_probs(
    sums_CA: np.ndarray, anchors: Sequence[Encoding], prefixes: Sequence[np.ndarray]
) -> np.ndarray:
    """Sums of log-probs as means in nats per answer token, float32 of shape (C, A); 0.0 where
    nothing is scored."""
    counts = [
        [len(scored_positions(anchor, len(prefix) > 0)) for anchor in anchors]
        for prefix in prefixes
    ]
    counts_CA = np.array(counts, dtype=np.int64).reshape(sums_CA.shape)
    means_CA: np.ndarray = np.where(counts_CA > 0, sums_CA / np.maximum(counts_CA, 1), 0.0)
    return means_CA.astype(np.float32)


def run_body(model: PreTrainedModel, input_ids: torch.Tensor, **keywords: Any) -> Any:
    """The model without its vocabulary projection; `last_hidden_state` of the result is (batch,
    tokens, E)."""
    if model.base_model is model:
        raise NotImplementedError("the model has no body apart from its vocabulary projection")
    forget_longer_sequences(model)
    return model.base_model(input_ids=input_ids.to(model.device), **keywords)


def add_answer_log_probs(
    sums_CA: np.ndarray,
    model: PreTrainedModel,
    output: Any,
    hidden_TE: torch.Tensor,
    rows: AnswerRows,
) -> None:
    """Add the log-probs of the answer tokens in `rows`, predicted from rows of `hidden_TE`, to (C,
    A) sums.

    `output` is what `run_body` returned: the projection gets its rows in an object of the same
    class.
    """
    log_probs = []
    for start in range(0, len(rows.hidden_R), CHUNK_ROWS[hidden_TE.device.type]):
        chunk = slice(start, start + CHUNK_ROWS[hidden_TE.device.type])
        hidden_RE = hidden_TE[torch.from_numpy(rows.hidden_R[chunk]).to(hidden_TE.device)]
        logits_RV = _project(model, type(output)(last_hidden_state=hidden_RE[None]))
        target_R = torch.from_numpy(rows.target_R[chunk]).to(logits_RV.device)
        log_probs.append(
            -torch.nn.functional.cross_entropy(logits_RV.float(), target_R, reduction="none")
        )
    if log_probs:
        log_probs_R = torch.cat(log_probs).double().cpu().numpy()
        np.add.at(sums_CA, (rows.candidate_R, rows.anchor_R), log_probs_R)


def _project(model: PreTrainedModel, output: Any) -> torch.Tensor:
    hidden = output.last_hidden_state
    placeholder = torch.zeros(hidden.shape[:2], dtype=torch.long, device=hidden.device)
    with _body_returns(model, output):
        logits: torch.Tensor = model(input_ids=placeholder, use_cache=False).logits[0]
    return logits


@contextmanager
def _body_returns(model: PreTrainedModel, output: Any) -> Iterator[None]:
    body = model.base_model
    own = body.__dict__.get("forward")
    body.forward = lambda *arguments, **keywords: output
    try:
        yield
    finally:
        del body.forward
        if own is not None:
            body.forward = own
