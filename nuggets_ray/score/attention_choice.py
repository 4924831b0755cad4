"""On a GPU, merge or gather? (kernels/varlen.py) Timed at start on a pack as the run will have
them: which is faster depends on the card, on the number of key heads, and on the anchors' lengths.

Legend: T packed tokens, H query heads, J key heads, D head size.
"""

import logging
import time
from collections.abc import Callable, Sequence

import torch
from transformers import PreTrainedModel

from nuggets_ray.model.weights.load_errors import is_out_of_memory
from nuggets_ray.records import Encoding
from nuggets_ray.score.kernels.flex import FLEX_BLOCK
from nuggets_ray.score.kernels.rule import Rule
from nuggets_ray.score.kernels.varlen import (
    can_varlen,
    gathered_attention,
    make_gathered,
    make_spans,
    merged_attention,
)
from nuggets_ray.score.pack import make_layout, make_packs

logger = logging.getLogger(__name__)

USUAL_PREFIX_TOKENS = 200
NUM_CALLS = 10
MIN_GAIN = 0.03
"""Gather is taken where it is faster by this at least: it needs memory for its copies."""


def choose_attention(
    model: PreTrainedModel, anchors: Sequence[Encoding], max_pack_tokens: int
) -> str:
    """merge or gather, whichever is faster for this model and these anchors."""
    lengths = [anchor.num_tokens for anchor in anchors]
    num_candidates = max(1, max_pack_tokens // (USUAL_PREFIX_TOKENS + sum(lengths)))
    prefixes = [USUAL_PREFIX_TOKENS] * num_candidates
    pack = make_packs(prefixes, lengths, max_pack_tokens)[0]
    num_tokens = -(-pack.num_tokens // FLEX_BLOCK) * FLEX_BLOCK
    layout = make_layout(pack, num_tokens, 0, model.device)
    query, key = made_up_states(model, num_tokens)
    rule = Rule(query.shape[-1] ** -0.5)
    if not can_varlen(query, key, rule):
        return "merge"
    spans, gathered = make_spans(layout), make_gathered(layout)
    try:
        merge_s = seconds(lambda: merged_attention(spans, query, key, key, rule))
        gather_s = seconds(lambda: gathered_attention(gathered, query, key, key, rule))
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return "merge"
    logger.info(
        "attention of a layer and %d tokens: merge %.2f ms, gather %.2f ms",
        pack.num_tokens, 1e3 * merge_s, 1e3 * gather_s,
    )  # fmt: skip
    return "gather" if gather_s < (1 - MIN_GAIN) * merge_s else "merge"


def made_up_states(model: PreTrainedModel, num_tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries (1, H, T, D) and keys (1, J, T, D) as the model's projections lay them out."""
    text = model.config.get_text_config()
    heads = text.num_attention_heads
    key_heads = getattr(text, "num_key_value_heads", None) or heads
    size = getattr(text, "head_dim", None) or text.hidden_size // heads
    make = {"dtype": model.dtype, "device": model.device}
    query = torch.randn(1, num_tokens, heads, size, **make)  # type: ignore[call-overload]
    key = torch.randn(1, num_tokens, key_heads, size, **make)  # type: ignore[call-overload]
    return query.transpose(1, 2), key.transpose(1, 2)


def seconds(call: Callable[[], torch.Tensor]) -> float:
    """Of one call, of several after a first one."""
    device = call().device
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    for _ in range(NUM_CALLS):
        call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - started) / NUM_CALLS
