"""Are vLLM's log-probs the model's own, and does reading its prefix cache under the guard change
none of them? Asked once, when the engine is made.

Three candidates and four anchors of random tokens. The last anchor has the tokens of the one before
it, so the cache holds its answer as well, and the guard must see it. Compared with the same
requests without the cache; and, where the model is small, on a CPU, and neither quantised nor
changed by score.vllm, with reference.py. Elsewhere no reference could be loaded beside vLLM.

Legend: C candidates, A anchors.
"""

from collections.abc import Callable, Sequence

import numpy as np
from transformers import PreTrainedModel

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import load_model
from nuggets_ray.model.size import model_size
from nuggets_ray.records import Encoding
from nuggets_ray.score.reference import reference_log_probs

LogProbs = Callable[[Sequence[Encoding], Sequence[np.ndarray], bool], np.ndarray]
"""(anchors, prefixes, whether the prefix cache is read) -> log-probs (C, A)."""

TOLERANCE_NATS = {"float32": 1e-3, "bfloat16": 0.75}
"""As self_check.TOLERANCE_NATS: in bfloat16 of one token, so that a mean over n tokens may differ
by 0.75 / sqrt(n). In float32 the demo model differed from the reference by 3e-5 at most."""
CHECK_PREFIX_TOKENS = (5, 40, 70)
CHECK_ANCHOR_TOKENS = (7, 20, 40)
CHECK_ANSWER_TOKENS = (1, 15, 39)
MAX_REFERENCE_PARAMETERS = 500_000_000
"""Of a model that is loaded by transformers too, for the time of the check."""


def check(
    log_probs: LogProbs,
    vocab_size: int,
    max_model_len: int,
    dtype: str,
    has_cache: bool,
    reference: PreTrainedModel | None,
) -> tuple[bool, str]:
    """Whether the prefix cache may be read, and what was compared.

    Raises UserError where vLLM's log-probs are not finite, or not the reference's.
    """
    anchors, prefixes = check_inputs(vocab_size, max_model_len)
    tolerance_A = np.full(len(anchors), TOLERANCE_NATS[dtype])
    if dtype == "bfloat16":
        tolerance_A /= np.sqrt([anchor.num_answer_tokens for anchor in anchors])
    plain_CA = log_probs(anchors, prefixes, False)
    way_out = "try score.dtype=float32, or take score.backend=transformers"
    if not np.isfinite(plain_CA).all():
        raise UserError(f"score.backend=vllm gives log-probs that are not finite: {way_out}")
    whys = [f"finite on {plain_CA.size} random pairs"]
    if reference is not None:
        difference_CA = np.abs(plain_CA - reference_log_probs(reference, anchors, prefixes))
        largest = f"{difference_CA.max():.2g} nats per answer token"
        if not (difference_CA <= tolerance_A).all():
            raise UserError(
                f"score.backend=vllm differs by {largest} from the model's own forward: {way_out}"
            )
        whys.append(f"within {largest} of the reference")
    if not has_cache:
        return False, "; ".join([*whys, "the prefix cache is off"])
    read_CA = log_probs(anchors, prefixes, True)
    difference_CA = np.abs(read_CA - plain_CA)
    # Written so that NaN is a difference.
    if (difference_CA <= tolerance_A).all():
        return True, "; ".join([*whys, "the prefix cache is read, and changes nothing"])
    largest = f"{np.nanmax(difference_CA):.2g} nats per answer token"
    return False, "; ".join([*whys, f"the prefix cache is not read: that changes up to {largest}"])


def check_inputs(vocab_size: int, max_model_len: int) -> tuple[list[Encoding], list[np.ndarray]]:
    """Four anchors and three prefixes of random tokens, cut where a request would not fit."""
    rng = np.random.default_rng(0)
    longest = (max_model_len - 1) // 2
    anchors = []
    for num_tokens, num_answer_tokens in zip(CHECK_ANCHOR_TOKENS, CHECK_ANSWER_TOKENS, strict=True):
        token_ids = rng.integers(0, vocab_size, min(num_tokens, longest))
        answer_mask = np.arange(num_tokens) >= num_tokens - num_answer_tokens
        anchors.append(Encoding(token_ids, answer_mask[-len(token_ids) :]))
    anchors.append(anchors[-1])
    lengths = [min(num_tokens, longest) for num_tokens in CHECK_PREFIX_TOKENS]
    return anchors, [rng.integers(0, vocab_size, num_tokens) for num_tokens in lengths]


def load_reference(model: ModelConfig, dtype: str) -> PreTrainedModel | None:
    """The model in transformers, on the CPU; None where it is too large or not known there."""
    size = model_size(model)
    if size is None or size.num_parameters > MAX_REFERENCE_PARAMETERS:
        return None
    return load_model(model, dtype, "cpu")
