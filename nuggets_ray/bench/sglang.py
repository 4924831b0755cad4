"""SGLang's log-probs of a prompt's tokens, as a contender of bench=peers.

Its radix cache keeps the demonstration for all of a candidate's anchors; `logprob_start_len` asks
for the log-probs behind it alone, and what stands before that is read from the cache (SGLang's
`Engine.generate`). It is imported inside: it needs a GPU, and no set of packages of ours has it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nuggets_ray.bench.task import NotMeasured, Task
from nuggets_ray.records import Encoding
from nuggets_ray.score.vllm_pairs import Pair, make_pairs

NO_TOKENS = {"max_new_tokens": 0, "temperature": 0.0}


class SglangPeer:
    """Log-probs (C, A) by an `sglang.Engine`, or what has its `generate`."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.counts: dict[str, int] = {"num_cached_tokens": 0}

    def log_probs(self, prefixes: Sequence[np.ndarray], anchors: Sequence[Encoding]) -> np.ndarray:
        """Mean log-prob of each anchor's answer behind each prefix, in nats a token."""
        means_CA = np.zeros((len(prefixes), len(anchors)), np.float32)
        pairs = list(make_pairs(prefixes, anchors))
        outputs = self._engine.generate(
            input_ids=[pair.token_ids.tolist() for pair in pairs],
            sampling_params=NO_TOKENS,
            return_logprob=True,
            logprob_start_len=[pair.first_row for pair in pairs],
        )
        for pair, output in zip(pairs, outputs, strict=True):
            self.counts["num_cached_tokens"] += int(output["meta_info"].get("cached_tokens", 0))
            means_CA[pair.candidate, pair.anchor] = _mean(pair, output["meta_info"])
        return means_CA


def _mean(pair: Pair, told: Mapping[str, Any]) -> float:
    """Of the answer's tokens. The list begins at first_row, whose own log-prob it leaves open."""
    rows = told["input_token_logprobs"]
    chosen = [rows[position - pair.first_row] for position in pair.positions_R]
    if [row[1] for row in chosen] != pair.token_ids[pair.positions_R].tolist():
        raise RuntimeError("SGLang returned log-probs of other tokens than were asked for")
    return float(np.mean([row[0] for row in chosen], dtype=np.float64))


def load_sglang(task: Task) -> SglangPeer:
    """An engine of the task's model. Raises NotMeasured where SGLang cannot run."""
    if task.device == "cpu":
        raise NotMeasured("SGLang needs a GPU")
    try:
        from sglang import Engine
    except ImportError as error:
        raise NotMeasured(f"sglang is not installed here ({error}): pip install sglang") from error
    return SglangPeer(
        Engine(
            model_path=task.model_path,
            revision=task.revision,
            trust_remote_code=task.trust_remote_code,
            dtype=task.dtype,
            skip_tokenizer_init=True,
            log_level="error",
        )
    )
