"""Instruction-following difficulty: how little the instruction helps with the answer.

    ifd            = loss(answer | instruction) / loss(answer alone)
    ifd_perplexity = perplexity(answer | instruction) / perplexity(answer alone)

The first is Cherry's (arXiv 2308.12032), the second Superfiltering's (arXiv 2402.00530). loss: mean
over the answer's tokens, in nats. Both sides hold the very same tokens, each of which has a
prediction: the first is predicted by the last token of the prompt (the first boundary), and, alone,
by the last token of the run's prompt with an empty question, which stands in for Cherry's bare
`### Response:` (the second). An answer alone knows nothing of other turns; of several answers of a
row the losses are averaged over all tokens. The prompt is the run's own, so that published numbers
are not reproduced: Cherry writes Alpaca's or WizardLM's; Superfiltering writes none, and leaves out
the first token of an answer that stands alone.

A ratio above 1 says that the instruction made the answer less likely, a sign that it does not
belong to it: both scripts leave such rows out, and so does select.by=ifd.
"""

from collections.abc import Sequence

import numpy as np

from nuggets_ray.records import Encoding

HIGHEST = 1.0


def ifd(answer_logprob: np.ndarray, alone_logprob: np.ndarray) -> np.ndarray:
    """Ratio of mean losses, of mean log-probs in nats per answer token; NaN where it is none."""
    return _ratio(-np.asarray(answer_logprob, np.float64), -np.asarray(alone_logprob, np.float64))


def ifd_perplexity(answer_logprob: np.ndarray, alone_logprob: np.ndarray) -> np.ndarray:
    """Ratio of perplexities from mean log-probs (nats per answer token)."""
    difference = np.asarray(alone_logprob, np.float64) - np.asarray(answer_logprob, np.float64)
    with np.errstate(over="ignore"):
        values = np.exp(difference)
    return np.where(np.isfinite(values), values, np.nan)


def misfits(values: np.ndarray) -> np.ndarray:
    """Which ratios, of either kind, are above 1: the instruction made the answer less likely."""
    return np.asarray(values) > HIGHEST


def answers_alone(demonstration: Encoding, unasked_ids: np.ndarray) -> list[Encoding]:
    """Each answer of a demonstration by itself, behind the ids of a prompt that asks nothing."""
    return [
        Encoding(
            np.concatenate([unasked_ids, demonstration.token_ids[start:stop]]).astype(np.int64),
            np.arange(len(unasked_ids) + stop - start) >= len(unasked_ids),
        )
        for start, stop in answer_spans(demonstration.answer_mask)
    ]


def answer_spans(answer_mask: np.ndarray) -> list[tuple[int, int]]:
    """(first token, token after the last) of each run of answer tokens. An answer on the very first
    token of all, which has no prediction, begins at the second."""
    edges = np.flatnonzero(np.diff(answer_mask.astype(np.int8), prepend=0, append=0))
    spans = [(max(start, 1), stop) for start, stop in edges.reshape(-1, 2).tolist()]
    return [(start, stop) for start, stop in spans if start < stop]


def joined(log_probs: Sequence[float], num_tokens: Sequence[int]) -> float:
    """Mean log-prob over all tokens of several answers, from those of each; NaN where there is
    none."""
    return float(np.average(log_probs, weights=num_tokens)) if sum(num_tokens) else float("nan")


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        values = above / below
    return np.where(np.isfinite(values), values, np.nan)
