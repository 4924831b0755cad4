"""The second backend: the engine's contract through vLLM's prompt log-probs, a request a pair.

For models that need tensor parallelism, quantised weights, or an architecture that transformers
cannot hold. vLLM's prefix cache keeps a demonstration from being computed anew for each anchor;
where the guard of vllm_pairs.py does not hold, the pair is scored again without it. vllm is
imported inside functions.

Legend: C candidates, A anchors, R answer tokens of a pair.
"""

import logging
import resource
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from itertools import islice
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import load_config, max_context_tokens, resolve_path
from nuggets_ray.model.vllm import (
    PACKAGES,
    as_fingerprint,
    check_installed,
    engine_arguments,
    set_environment,
    text_only,
)
from nuggets_ray.model.weights.headers import check_weights
from nuggets_ray.records import Encoding
from nuggets_ray.score.contract import DeviceLost
from nuggets_ray.score.own import Own
from nuggets_ray.score.vllm_check import check, load_reference
from nuggets_ray.score.vllm_pairs import Pair, answer_log_probs, make_pairs, sampling_keywords

logger = logging.getLogger(__name__)

PAIRS_A_CALL = 1024
"""Requests that vLLM holds at once: enough that a GPU seldom runs dry, and 0.3 GiB of host memory
at 1,000 tokens each (measured, every row on a CPU), for any number of candidates and anchors."""

Generate = Callable[[list[dict[str, Any]], list[dict[str, Any]]], Sequence[Any]]
"""(prompts, keywords of SamplingParams) -> vLLM's RequestOutputs, in order."""


class VllmEngine:
    """A vLLM replica with its anchors; the contract is contract.ScoringEngine.

    `counts` says how many pairs were scored and how many of them again, because the guard did not
    hold. `rows_only`: vLLM computes log-probs for the rows asked for only (its second model
    runner); else for every row that it did not find in its cache.
    """

    name = "vllm"

    def __init__(
        self,
        generate: Generate,
        anchors: Sequence[Encoding],
        *,
        max_model_len: int,
        max_pack_tokens: int,
        reads_prefix_cache: bool = True,
        rows_only: bool = False,
        why: str = "",
    ) -> None:
        self._generate = generate
        self.anchors = list(anchors)
        self.max_model_len = max_model_len
        self.max_pack_tokens = max_pack_tokens
        self.reads_prefix_cache = reads_prefix_cache
        self.rows_only = rows_only
        self.why = why
        self.details: dict[str, Any] = {}
        self.counts = {"num_pairs": 0, "num_rescored": 0}
        self.num_prefixes = 0

    @property
    def num_rescored(self) -> int:
        """Pairs that were scored again, since the start."""
        return self.counts["num_rescored"]

    def use_anchors(self, anchors: Sequence[Encoding]) -> None:
        """Score on these from now on."""
        self.anchors = list(anchors)

    def log_probs(self, prefixes: Sequence[np.ndarray]) -> np.ndarray:
        """Mean log-prob of every anchor's answer after every prefix: (C, A) float32, nats per
        answer token.

        As `Engine.log_probs`: after an empty prefix an anchor's very first token does not count,
        and 0.0 where nothing is scored. Raises ValueError for a prefix that does not fit vLLM's
        max_model_len, DeviceLost when vLLM failed: what it holds of the requests is unknown then.
        """
        longest = max(map(len, prefixes), default=0)
        longest_anchor = max((anchor.num_tokens for anchor in self.anchors), default=0)
        if longest + longest_anchor >= self.max_model_len:
            raise ValueError(
                f"a prefix of {longest} tokens, an anchor of {longest_anchor} and one generated "
                f"token do not fit max_model_len={self.max_model_len}"
            )
        means_CA = np.zeros((len(prefixes), len(self.anchors)), dtype=np.float32)
        first_salt = self.num_prefixes
        self.num_prefixes += len(prefixes)
        pairs = make_pairs(prefixes, self.anchors)
        while some := list(islice(pairs, PAIRS_A_CALL)):
            for pair, log_probs_R in zip(some, self._answers(some, first_salt), strict=True):
                mean = log_probs_R.mean(dtype=np.float64)
                means_CA[pair.candidate, pair.anchor] = mean
        return means_CA

    def log_probs_and_own(
        self, demonstrations: Sequence[Encoding], with_states: bool
    ) -> tuple[np.ndarray, Own]:
        """`log_probs`, and what the demonstrations tell of themselves, in requests of their own."""
        prefixes = [demonstration.token_ids for demonstration in demonstrations]
        return self.log_probs(prefixes), self.own(demonstrations, with_states)

    def own(self, sequences: Sequence[Encoding], with_states: bool) -> Own:
        """What sequences tell of themselves: the log-prob of their answers alone."""
        if with_states:
            raise ValueError("vLLM shows no hidden states")
        anchors = self.anchors
        self.use_anchors(sequences)
        try:
            return Own(self.log_probs([np.zeros(0, np.int64)])[0], None)
        finally:
            self.use_anchors(anchors)

    def peak_memory_bytes(self) -> int:
        """Of the first GPU, all that is in use there; on a CPU of this process."""
        if torch.cuda.is_available():
            free, total = torch.cuda.mem_get_info()
            return total - free
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def _answers(self, pairs: Sequence[Pair], first_salt: int) -> list[np.ndarray]:
        """Log-probs (R,) of every pair's answer tokens."""
        self.counts["num_pairs"] += len(pairs)
        outputs = self._run(pairs, first_salt, self.reads_prefix_cache)
        answers = [
            answer_log_probs(output, pair) for output, pair in zip(outputs, pairs, strict=True)
        ]
        again = [n for n, log_probs_R in enumerate(answers) if log_probs_R is None]
        if again and self.reads_prefix_cache:
            self.counts["num_rescored"] += len(again)
            outputs = self._run([pairs[n] for n in again], first_salt, reads=False)
            for n, output in zip(again, outputs, strict=True):
                answers[n] = answer_log_probs(output, pairs[n])
        complete = [log_probs_R for log_probs_R in answers if log_probs_R is not None]
        if len(complete) < len(pairs):
            raise RuntimeError(
                "vLLM returned no log-probs for a request that reads no prefix cache"
            )
        return complete

    def _run(self, pairs: Sequence[Pair], first_salt: int, reads: bool) -> Sequence[Any]:
        # The salt keeps hits within one prefix of one call: what an earlier call left, of the same
        # candidate say, would reach past the guard, and every pair would be scored twice.
        prompts = [
            {
                "prompt_token_ids": pair.token_ids.tolist(),
                "cache_salt": str(first_salt + pair.candidate),
            }
            for pair in pairs
        ]
        keywords = [sampling_keywords(pair, self.rows_only, reads) for pair in pairs]
        try:
            return self._generate(prompts, keywords)
        # Whatever it was, requests may be left half done in vLLM's loop: no later call is safe.
        except Exception as error:
            raise DeviceLost(f"vLLM failed: {type(error).__name__}: {error}") from error


def make_vllm_engine(
    model: ModelConfig,
    dtype: str,
    anchors: Sequence[Encoding],
    *,
    max_prefix_tokens: int,
    num_gpus: float = 0,
    arguments: Mapping[str, Any] | None = None,
    max_pack_tokens: int | None = None,
    reads_prefix_cache: bool = True,
) -> VllmEngine:
    """A vLLM replica of `model` for `anchors`, checked at start (vllm_check.py).

    `dtype` is bfloat16 or float32; `num_gpus` of this replica (0: a CPU); `arguments` of vLLM's
    `LLM` over our defaults (score.vllm); `max_prefix_tokens` the longest prefix to come. Raises
    UserError for a wrong package, arguments, context or model.
    """
    given = arguments or {}
    device = "cuda" if num_gpus else "cpu"
    check_installed(device)
    model_config = load_config(model, any_architecture=True)
    arguments = text_only(model_config) | engine_arguments(
        given,
        num_gpus=num_gpus,
        context_tokens=max_context_tokens(model_config),
        max_prefix_tokens=max_prefix_tokens,
        max_anchor_tokens=max((anchor.num_tokens for anchor in anchors), default=0),
        max_pack_tokens=max_pack_tokens,
        reads_prefix_cache=reads_prefix_cache,
    )
    llm = _load(model, dtype, arguments)
    is_quantised = llm.llm_engine.vllm_config.model_config.quantization is not None
    has_reference = not num_gpus and not is_quantised and as_fingerprint(given) == "none"
    reference = load_reference(model, dtype) if has_reference else None
    engine = _checked(llm, dtype, anchors, reference)
    engine.why = f"vLLM {version(PACKAGES[device])}, {engine.why}"
    return engine


def _checked(
    llm: Any, dtype: str, anchors: Sequence[Encoding], reference: PreTrainedModel | None
) -> VllmEngine:
    config = llm.llm_engine.vllm_config
    max_model_len, rows_only = config.model_config.max_model_len, bool(config.use_v2_model_runner)
    make = partial(
        VllmEngine,
        _generate_with(llm),
        max_model_len=max_model_len,
        max_pack_tokens=config.scheduler_config.max_num_batched_tokens,
        rows_only=rows_only,
    )

    def log_probs(
        some: Sequence[Encoding], prefixes: Sequence[np.ndarray], reads: bool
    ) -> np.ndarray:
        return make(some, reads_prefix_cache=reads).log_probs(prefixes)

    has_cache = bool(config.cache_config.enable_prefix_caching)
    vocab_size = config.model_config.get_vocab_size()
    reads, why = check(log_probs, vocab_size, max_model_len, dtype, has_cache, reference)
    rows = "the rows asked for" if rows_only else "every row"
    return make(anchors, reads_prefix_cache=reads, why=f"which computes {rows}: {why}")


def _load(model: ModelConfig, dtype: str, arguments: Mapping[str, Any]) -> Any:
    set_environment(arguments)
    from vllm import LLM

    try:
        llm = LLM(
            model=resolve_path(model),
            revision=model.revision,
            trust_remote_code=model.trust_remote_code,
            dtype=dtype,
            **arguments,
        )
    # What vLLM raises for a model or an argument that it does not take.
    except (
        RuntimeError,
        ValueError,
        TypeError,
        OSError,
        ImportError,
        NotImplementedError,
    ) as error:
        raise UserError(
            f"score.backend=vllm cannot load model.path={model.path} "
            f"({' '.join(str(error).split())[:400]}): change score.vllm, or take "
            "score.backend=transformers"
        ) from error
    check_weights(model, any_architecture=True)  # now a hub id's files are here too
    return llm


def _generate_with(llm: Any) -> Generate:
    from vllm import SamplingParams

    def generate(prompts: list[dict[str, Any]], keywords: list[dict[str, Any]]) -> Sequence[Any]:
        params = [SamplingParams(**some) for some in keywords]
        outputs: Sequence[Any] = llm.generate(prompts, params, use_tqdm=False)
        return outputs

    return generate
