"""A stand-in for vLLM's `LLM.generate` on prompt log-probs: real prefix-cache bookkeeping, made-up
log-probs, and garbage where vLLM has garbage.

As read in vLLM 0.32: full blocks are found by salt and content, never the last token; the first
model runner returns a row for every token, uninitialised where the cache was hit; the second one
leaves those rows out, and drops a request for given rows whose first ones were hit.
"""

import hashlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from nuggets_ray.records import Encoding

BLOCK = 4
GARBAGE = 77.0


def token_log_prob(token_ids: Sequence[int], position: int) -> float:
    """Of the token at `position`, a number in (-9, 0) made of all tokens up to it."""
    digest = hashlib.sha256(np.asarray(token_ids[: position + 1], np.int64).tobytes()).digest()
    return -9 * int.from_bytes(digest[:4], "little") / 2**32


def expected_log_probs(anchors: Sequence[Encoding], prefixes: Sequence[np.ndarray]) -> np.ndarray:
    """What the contract asks for, (C, A), pair by pair."""
    means_CA = np.zeros((len(prefixes), len(anchors)))
    for c, prefix in enumerate(prefixes):
        for a, anchor in enumerate(anchors):
            token_ids = [*prefix, *anchor.token_ids]
            positions = len(prefix) + np.flatnonzero(anchor.answer_mask)
            log_probs = [token_log_prob(token_ids, p) for p in positions if p > 0]
            means_CA[c, a] = np.mean(log_probs) if log_probs else 0.0
    return means_CA


class FakeVllm:
    """Call it like `vllm_engine.Generate`; `cached` are the num_cached_tokens it reported."""

    def __init__(self, drops_rows: bool = False, error: Exception | None = None) -> None:
        self.drops_rows, self.error = drops_rows, error
        self.blocks: set[tuple[str, tuple[int, ...]]] = set()
        self.cached: list[int] = []
        self.calls: list[int] = []

    def __call__(
        self, prompts: list[dict[str, Any]], keywords: list[dict[str, Any]]
    ) -> list[SimpleNamespace]:
        if self.error is not None:
            raise self.error
        self.calls.append(len(prompts))
        return [self._request(*request) for request in zip(prompts, keywords, strict=True)]

    def _request(self, prompt: dict[str, Any], keywords: dict[str, Any]) -> SimpleNamespace:
        token_ids, salt = prompt["prompt_token_ids"], prompt["cache_salt"]
        num_cached = 0
        if not keywords["skip_reading_prefix_cache"]:
            while (salt, tuple(token_ids[: num_cached + BLOCK])) in self.blocks:
                if num_cached + BLOCK > len(token_ids) - 1:
                    break
                num_cached += BLOCK
        for stop in range(BLOCK, len(token_ids) + 1, BLOCK):
            self.blocks.add((salt, tuple(token_ids[:stop])))
        self.cached.append(num_cached)
        log_probs = [token_log_prob(token_ids, p) for p in range(1, len(token_ids))]
        output = SimpleNamespace(
            num_cached_tokens=num_cached, prompt_logprobs=None, prompt_token_id_logprobs=None
        )
        if "prompt_logprob_token_ids" in keywords:
            start, wanted = keywords["prompt_logprob_start"], keywords["prompt_logprob_token_ids"]
            assert wanted.shape == (len(token_ids) - 1 - start, 1)  # vLLM refuses any other
            assert wanted[:, 0].tolist() == token_ids[start + 1 :]
            if num_cached <= start:
                output.prompt_token_id_logprobs = np.array(log_probs[start:])[:, None]
            return output
        known = slice(num_cached, None) if self.drops_rows else slice(None)
        rows = [GARBAGE] * num_cached + log_probs[num_cached:]
        row_tokens = [-1] * num_cached + token_ids[num_cached + 1 :]
        output.prompt_logprobs = SimpleNamespace(logprobs=rows[known], token_ids=row_tokens[known])
        return output
