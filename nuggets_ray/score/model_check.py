"""Can the model be scored with at all? Asked once, before an engine is chosen: its log-probs are
numbers, and those of a token do not move when later tokens change.

Legend: T tokens, V vocabulary.
"""

import numpy as np
import torch
from transformers import PreTrainedModel

from nuggets_ray.errors import UserError
from nuggets_ray.model.load import max_context_tokens
from nuggets_ray.score.rope import forget_longer_sequences

NUM_TOKENS = 32
NUM_CHANGED = 8
MAX_LEAK_NATS = {torch.float32: 1e-3, torch.bfloat16: 0.75}
"""What rounding may move a log-prob by. In a masked model, each moves by whole nats."""


def check_model(model: PreTrainedModel) -> None:
    """Raise UserError where the model gives NaN, or looks at the tokens that it is to predict."""
    name = f"model.path={model.name_or_path}"
    log_probs_TV, changed_TV = _two_log_probs(model)
    if log_probs_TV.isnan().any():
        broken = [key for key, value in model.named_parameters() if not value.isfinite().all()]
        if broken:
            raise UserError(
                f"{name}: its weights are not finite ({len(broken)} of them, such as {broken[0]}): "
                "download the model again, or give another"
            )
        raise UserError(
            f"{name}: its log-probs are not finite in {str(model.dtype).rpartition('.')[2]}: "
            "set score.dtype=float32, or give another model"
        )
    num_kept = len(log_probs_TV) - NUM_CHANGED
    # -inf minus -inf, of tokens that a model never gives, is no leak
    leak = (log_probs_TV - changed_TV)[:num_kept].nan_to_num(0.0).abs().max().item()
    if leak > MAX_LEAK_NATS[model.dtype]:
        raise UserError(
            f"{name} ({model.config.model_type}) is no causal language model: its log-probs move "
            f"by {leak:.2g} nats when later tokens change, as those of a masked model do: give a "
            "model that continues text"
        )


@torch.inference_mode()
def _two_log_probs(model: PreTrainedModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probs (T, V) of random tokens, and of the same with the last ones changed."""
    config = model.config.get_text_config()
    num_tokens = min(NUM_TOKENS, max_context_tokens(config) or NUM_TOKENS)
    token_ids = np.random.default_rng(2).integers(0, config.vocab_size, (2, num_tokens))
    token_ids[1, :-NUM_CHANGED] = token_ids[0, :-NUM_CHANGED]
    log_probs = []
    for ids_T in torch.from_numpy(token_ids).to(model.device):
        forget_longer_sequences(model)
        logits_TV = model(input_ids=ids_T[None], use_cache=False).logits[0]
        log_probs.append(logits_TV.float().log_softmax(dim=-1))
    return log_probs[0], log_probs[1]
