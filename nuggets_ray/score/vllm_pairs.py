"""The vLLM backend's requests: a prefix with an anchor each, what is asked of vLLM for it, and
which rows of the answer may be believed.

Row t - 1 predicts token t. A request that reads vLLM's prefix cache has no rows for the tokens that
it found there (vLLM leaves them out, or leaves them uninitialised), and a hit can reach past the
prefix into the anchor. So an answer counts only where
    num_cached_tokens <= first_scored_position - 1                      (the guard)

Legend: R answer tokens of a pair.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nuggets_ray.records import Encoding
from nuggets_ray.score.head import scored_positions


@dataclass(frozen=True, slots=True)
class Pair:
    """A candidate's prefix with an anchor, cut behind its last answer token: a request.

    `positions_R` are the answer tokens' places among `token_ids`, at least one, all of them > 0.
    """

    candidate: int
    anchor: int
    token_ids: np.ndarray
    positions_R: np.ndarray

    @property
    def first_row(self) -> int:
        """The row that predicts the first answer token."""
        return int(self.positions_R[0]) - 1


def make_pairs(prefixes: Sequence[np.ndarray], anchors: Sequence[Encoding]) -> Iterator[Pair]:
    """Every prefix with every anchor that has something to score after it, prefix by prefix."""
    for candidate, prefix in enumerate(prefixes):
        for index, anchor in enumerate(anchors):
            answers_R = scored_positions(anchor, has_prefix=len(prefix) > 0)
            if len(answers_R):
                # What is behind the last answer token cannot change its log-prob.
                token_ids = np.concatenate([prefix, anchor.token_ids[: answers_R[-1] + 1]])
                yield Pair(candidate, index, token_ids, len(prefix) + answers_R)


def sampling_keywords(pair: Pair, rows_only: bool, reads: bool) -> dict[str, Any]:
    """Keywords of vLLM's SamplingParams for the pair's log-probs.

    `rows_only`: of each token from the first answer token on, as an array of shape (rows, 1).
    """
    keywords: dict[str, Any] = {
        "max_tokens": 1,
        "temperature": 0.0,
        "detokenize": False,
        "skip_reading_prefix_cache": not reads,
    }
    if rows_only:
        token_ids_R1 = pair.token_ids[pair.first_row + 1 :, None].astype(np.int32)
        rows = {"prompt_logprob_token_ids": token_ids_R1, "prompt_logprob_start": pair.first_row}
        return keywords | rows
    return keywords | {"prompt_logprobs": 0, "flat_logprobs": True}


def answer_log_probs(output: Any, pair: Pair) -> np.ndarray | None:
    """Log-probs (R,) of the pair's answer tokens out of vLLM's RequestOutput; None where the guard
    does not hold, so that some row was never computed.

    Rows are counted from the end: with cached tokens there may be fewer of them than tokens.
    """
    if output.num_cached_tokens is None or output.num_cached_tokens > pair.first_row:
        return None
    from_end_R = pair.positions_R - len(pair.token_ids)
    log_probs_R: np.ndarray
    if output.prompt_token_id_logprobs is not None:
        log_probs_R = output.prompt_token_id_logprobs[from_end_R, 0]
        return log_probs_R
    if output.prompt_logprobs is None:
        return None
    # FlatLogprobs: the prompt's own tokens, one an entry, but for the very first, which has none.
    num_rows = len(pair.token_ids) - 1 - pair.first_row
    token_ids = np.asarray(output.prompt_logprobs.token_ids[-num_rows:])
    if not np.array_equal(token_ids, pair.token_ids[-num_rows:]):
        raise RuntimeError("vLLM returned log-probs of other tokens than those asked for")
    log_probs_R = np.asarray(output.prompt_logprobs.logprobs[-num_rows:])[from_end_R]
    return log_probs_R
