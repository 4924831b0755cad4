"""Does a way of computing log-probs agree with the reference on this model? Asked once, when an
engine is made.

Three candidates and three anchors of random tokens: two candidates short enough to share a pack,
one longer than any sliding window (where the context allows) and split over packs; a one-token
answer among the anchors.

Legend: C candidates, A anchors.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from nuggets_ray.model import max_context_tokens
from nuggets_ray.records import Encoding
from nuggets_ray.score.kv_cache import takes_positions
from nuggets_ray.score.reference import reference_log_probs

LogProbs = Callable[[PreTrainedModel, Sequence[Encoding], Sequence[np.ndarray], int], np.ndarray]

TOLERANCE_NATS = {torch.float32: 1e-4, torch.bfloat16: 0.1}
"""Largest difference per answer token that is taken for rounding."""
CHECK_PACK_TOKENS = 90
CHECK_PREFIX_TOKENS = (5, 9, 64)
CHECK_ANCHOR_TOKENS = (7, 11, 16)
TREE_LAYER_TYPES = frozenset({"full_attention", "sliding_attention"})
CACHE_LAYER_TYPES = TREE_LAYER_TYPES | {"chunked_attention"}


def reason_against(name: str, log_probs: LogProbs, model: PreTrainedModel) -> str | None:
    """Why the engine `name` must not be used with `model`, in words; None if it agrees with the
    reference."""
    config = model.config.get_text_config()
    known = {"tree": TREE_LAYER_TYPES, "kv_cache": CACHE_LAYER_TYPES}.get(name)
    strange = set(getattr(config, "layer_types", None) or ()) - known if known else set()
    if strange:
        return f"{name} cannot do layers of type {', '.join(sorted(strange))}"
    if name == "tree" and not takes_positions(model):
        return "tree cannot set positions (the model takes none)"
    anchors, prefixes = check_anchors(config), check_prefixes(config)
    try:
        with torch.inference_mode():
            got_CA = log_probs(model, anchors, prefixes, CHECK_PACK_TOKENS)
    except (
        Exception
    ) as error:  # modelling code of any origin runs here; what it says goes into the log
        return f"{name} failed ({type(error).__name__}: {str(error).strip().splitlines()[:1]})"
    difference = float(np.abs(got_CA - reference_log_probs(model, anchors, prefixes)).max())
    # Written so that NaN is a difference.
    if difference <= TOLERANCE_NATS[model.dtype]:
        return None
    return f"{name} differs by {difference:.2g} nats per answer token from the reference"


def check_anchors(config: Any) -> list[Encoding]:
    """Three anchors of random tokens, the answers being one, 6 and all but the first of their
    tokens."""
    rng = np.random.default_rng(0)
    anchors = []
    for num_tokens, num_answer_tokens in zip(CHECK_ANCHOR_TOKENS, (1, 6, 15), strict=True):
        answer_mask = np.arange(num_tokens) >= num_tokens - num_answer_tokens
        anchors.append(Encoding(rng.integers(0, config.vocab_size, num_tokens), answer_mask))
    return anchors


def check_prefixes(config: Any) -> list[np.ndarray]:
    """Three demonstrations of random tokens; the last is longer than the sliding window, if the
    context allows."""
    rng = np.random.default_rng(1)
    context = max_context_tokens(config)
    *short, long = CHECK_PREFIX_TOKENS
    long = max(long, (getattr(config, "sliding_window", None) or 0) + max(CHECK_ANCHOR_TOKENS))
    if context is not None:
        long = min(long, context - max(CHECK_ANCHOR_TOKENS))
    return [rng.integers(0, config.vocab_size, max(num_tokens, 0)) for num_tokens in (*short, long)]
