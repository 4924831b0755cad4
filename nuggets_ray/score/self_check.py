"""Does a way of computing log-probs agree with the reference on this model? Asked once, when an
engine is made.

Three candidates and three anchors of random tokens: two candidates short enough to share a pack,
one longer than any sliding window (where the context allows) and split over packs; a one-token
answer among the anchors.

Legend: C candidates, A anchors.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from transformers import PreTrainedModel

from nuggets_ray.model.load import max_context_tokens
from nuggets_ray.records import Encoding
from nuggets_ray.score.kv_cache import takes_positions
from nuggets_ray.score.own import OwnSums
from nuggets_ray.score.reference import reference_log_probs
from nuggets_ray.score.rope import max_shared_tokens


class ComputeLogProbs(Protocol):
    """A way of computing log-probs; see tree.tree_log_probs."""

    def __call__(
        self,
        model: PreTrainedModel,
        anchors: Sequence[Encoding],
        prefixes: Sequence[np.ndarray],
        max_pack_tokens: int,
        own: OwnSums | None = None,
    ) -> torch.Tensor: ...


TOLERANCE_NATS = {torch.float32: 1e-4, torch.bfloat16: 0.75}
"""Largest difference that is taken for rounding: in float32 of a mean log-prob; in bfloat16 of one
token's, so that a mean over n tokens may differ by 0.75 / sqrt(n). Measured on the demo model, 12
draws: single tokens differ by up to 0.21, means of 20 and of 44 by up to 0.045, in every engine.
"""
MAX_CHECK_TOKENS = 8192
"""A longer window is not checked: no demonstration reaches it, and the check would take long."""
CHECK_PACK_TOKENS = 175
CHECK_PREFIX_TOKENS = (5, 9, 110)
CHECK_ANCHOR_TOKENS = (7, 27, 45)
CHECK_ANSWER_TOKENS = (1, 20, 44)
KNOWN_LAYER_TYPES = frozenset({"full_attention", "sliding_attention", "chunked_attention"})


def reason_against(name: str, log_probs: ComputeLogProbs, model: PreTrainedModel) -> str | None:
    """Why the engine `name` must not be used with `model`; None if it agrees with the reference."""
    config = model.config.get_text_config()
    strange = set(getattr(config, "layer_types", None) or ()) - KNOWN_LAYER_TYPES
    if strange and name != "plain":
        return f"{name} cannot do layers of type {', '.join(sorted(strange))}"
    if name == "tree" and not takes_positions(model):
        return "tree cannot set positions (the model takes none)"
    anchors, prefixes = check_anchors(config), check_prefixes(config)
    try:
        with torch.inference_mode():
            got = log_probs(model, anchors, prefixes, CHECK_PACK_TOKENS)
            got_CA = torch.as_tensor(got).cpu().numpy()
    # Modelling code of any origin runs here and may raise anything: what it says is the reason.
    except Exception as error:
        return f"{name} failed with {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    difference_CA = np.abs(got_CA - reference_log_probs(model, anchors, prefixes))
    tolerance_A = np.full(len(anchors), TOLERANCE_NATS[model.dtype])
    if model.dtype == torch.bfloat16:
        tolerance_A /= np.sqrt(CHECK_ANSWER_TOKENS)
    # Written so that NaN is a difference.
    if (difference_CA <= tolerance_A).all():
        return None
    largest = difference_CA.max()
    return f"{name} differs by {largest:.2g} nats per answer token from the reference"


def check_anchors(config: Any) -> list[Encoding]:
    """Three anchors of random tokens, whose answers are one, most and all but one of them."""
    rng = np.random.default_rng(0)
    anchors = []
    for num_tokens, num_answer_tokens in zip(CHECK_ANCHOR_TOKENS, CHECK_ANSWER_TOKENS, strict=True):
        answer_mask = np.arange(num_tokens) >= num_tokens - num_answer_tokens
        anchors.append(Encoding(rng.integers(0, config.vocab_size, num_tokens), answer_mask))
    return anchors


def check_prefixes(config: Any) -> list[np.ndarray]:
    """Three demonstrations of random tokens, the last longer than the sliding window if it fits."""
    rng = np.random.default_rng(1)
    *short, long = CHECK_PREFIX_TOKENS
    limits = (max_context_tokens(config), max_shared_tokens(config), MAX_CHECK_TOKENS)
    limit = min(tokens for tokens in limits if tokens is not None) - max(CHECK_ANCHOR_TOKENS)
    past_window = (getattr(config, "sliding_window", None) or 0) + max(CHECK_ANCHOR_TOKENS)
    long = past_window if long < past_window <= limit else max(0, min(long, limit))
    return [rng.integers(0, config.vocab_size, num_tokens) for num_tokens in (*short, long)]
