"""Can the model be scored with at all? Asked once, before an engine is chosen: its weights and
log-probs are numbers, and those of a token do not move when later tokens change.

Legend: B rows of a batch, T tokens, V vocabulary.
"""

from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from nuggets_ray.errors import UserError
from nuggets_ray.model.load import max_context_tokens
from nuggets_ray.model.weights.load_errors import is_of_the_machine
from nuggets_ray.score.rope import forget_longer_sequences

NUM_TOKENS = 32
NUM_CHANGED = 8
LEAST_NOISE_NATS = {torch.float32: 1e-4, torch.bfloat16: 0.03}
"""Moves up to this are never taken for more than rounding, however quiet the model is: in bfloat16
one step of a logit between 4 and 8."""
MANY_NOISES = 4
"""Moves beyond so many times the noise are more than rounding."""
QUARTILE = 0.75
"""Noise and moves are upper quartiles over tokens: where rounding sends a token to another expert,
that one moves by whole nats, while a leak moves them all."""


def check_model(model: PreTrainedModel) -> float:
    """Raise UserError where the model gives NaN, or looks at the tokens that it is to predict.

    Returns its noise in nats: what a token's log-probs move by with what is computed beside it. A
    dense model does not move at all; a mixture of experts does by rounding, as other tokens share
    the experts, and so does one that is quantised as it runs.
    """
    name = f"model.path={model.name_or_path}"
    _check_finite(model, name)
    token_ids_BT = torch.from_numpy(_token_ids(model))
    alone_BTV = torch.cat([_log_probs(model, ids_T[None], name) for ids_T in token_ids_BT])
    if alone_BTV.isnan().any():
        raise UserError(
            f"{name}: its log-probs are not finite in {str(model.dtype).rpartition('.')[2]}: "
            "set score.dtype=float32, or give another model"
        )
    noise = _move(alone_BTV, _log_probs(model, token_ids_BT, name))
    earlier_BTV = alone_BTV[:, : token_ids_BT.shape[1] - NUM_CHANGED]
    leak = _move(earlier_BTV[0], earlier_BTV[1])
    if leak > most_noise(model.dtype, noise):
        raise UserError(
            f"{name} ({model.config.model_type}) is no causal language model: its log-probs move "
            f"by {leak:.2g} nats when later tokens change, as those of a masked model do: give a "
            "model that continues text"
        )
    return noise


def most_noise(dtype: torch.dtype, noise: float) -> float:
    """The largest move, in nats, that is taken for rounding."""
    return max(LEAST_NOISE_NATS[dtype], MANY_NOISES * noise)


def quartile(moves: torch.Tensor) -> float:
    """The upper quartile of moves in nats. What is -inf on both sides has not moved."""
    return moves.abs().nan_to_num(0.0).flatten().quantile(QUARTILE).item()


def _move(a_TV: torch.Tensor, b_TV: torch.Tensor) -> float:
    """What the log-prob that moves most moves by, at most tokens."""
    return quartile((a_TV - b_TV).abs().nan_to_num(0.0).amax(dim=-1))


def _check_finite(model: PreTrainedModel, name: str) -> None:
    """Raise UserError for weights that are NaN or infinite, those of rare tokens and experts
    too."""
    broken = [
        key
        for key, value in model.named_parameters()
        if value.is_floating_point() and value.element_size() > 1 and not _is_finite(value)
    ]
    if broken:
        raise UserError(
            f"{name}: its weights are not finite ({len(broken)} of them, such as {broken[0]}): "
            "download the model again, or give another"
        )


def _is_finite(value: torch.Tensor) -> bool:
    least, most = torch.aminmax(value) if value.numel() else (value.sum(), value.sum())
    return bool(least.isfinite() & most.isfinite())  # one pass, without a copy; NaN is passed on


def _token_ids(model: PreTrainedModel) -> np.ndarray:
    """Two rows (2, T) of random tokens, the same but for the last."""
    config = model.config.get_text_config()
    num_tokens = min(NUM_TOKENS, max_context_tokens(config) or NUM_TOKENS)
    token_ids: np.ndarray = np.random.default_rng(2).integers(0, config.vocab_size, (2, num_tokens))
    token_ids[1, :-NUM_CHANGED] = token_ids[0, :-NUM_CHANGED]
    return token_ids


@torch.inference_mode()
def _log_probs(model: PreTrainedModel, token_ids_BT: torch.Tensor, name: str) -> torch.Tensor:
    """Log-probs (B, T, V) in float32, by the model's own forward."""
    forget_longer_sequences(model)
    try:
        output: Any = model(input_ids=token_ids_BT.to(model.device), use_cache=False)
        logits_BTV: torch.Tensor = output.logits
    # Modelling code of any origin runs here and may raise anything: what it says is the reason.
    except Exception as error:
        if is_of_the_machine(error):
            raise
        raise UserError(
            f"{name} ({model.config.model_type}) cannot be run on tokens alone: its forward raised "
            f"{type(error).__name__}: {' '.join(str(error).split())[:200]}: give a model that "
            "continues text"
        ) from error
    return logits_BTV.float().log_softmax(dim=-1)
