"""What the layers of a model keep of a token for the backward pass, counted on the model itself.

The body runs on torch's meta device, which has shapes and no numbers, and autograd tells which
tensors it keeps. There attention is computed without a fused kernel and keeps a matrix of T x T as
well: a x T + b x T^2 bytes for T tokens, of which a is what the fused kernels keep. Against what
CPU kernels kept of Llama, Qwen 2 and 3, Gemma 2, Phi 3 and GPT-NeoX models, the count is 0 to 20%
too high, because expanded keys and scaled queries are kept too.
"""

import logging
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks

from nuggets_ray.model.body import body_of

logger = logging.getLogger(__name__)

NUM_TOKENS = 64


def kept_bytes_a_token(empty: Any, dtype: str) -> float | None:
    """Bytes that all layers together keep of a token, of a model on the meta device; None for a
    model that does not run there.
    """
    empty.to(getattr(torch, dtype)).train()
    try:
        once, twice = _kept_bytes(empty, NUM_TOKENS), _kept_bytes(empty, 2 * NUM_TOKENS)
    except Exception as error:  # whatever a modelling code does that needs numbers
        logger.info("the model does not run on shapes alone (%s)", error)
        return None
    return (4 * once - twice) / (2 * NUM_TOKENS)


def _kept_bytes(empty: Any, num_tokens: int) -> int:
    weights = {id(weight) for weight in empty.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        whole = tensor if tensor._base is None else tensor._base  # a view keeps what it is of
        if id(whole) not in weights:
            kept[id(whole)] = whole
        return tensor

    ids = torch.zeros((1, num_tokens), dtype=torch.long, device="meta")
    # transformers looks into a mask of rows and takes one of pairs as it is
    mask = torch.zeros((1, 1, num_tokens, num_tokens), dtype=torch.bool, device="meta")
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        body_of(empty)(input_ids=ids, attention_mask=mask, use_cache=False)
    return sum(whole.untyped_storage().nbytes() for whole in kept.values())
