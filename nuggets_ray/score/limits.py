"""How many tokens a demonstration may have, so that the longest anchor fits behind it."""

import logging

from nuggets_ray.config.schema import ModelConfig, PromptConfig, ScoreConfig
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import load_config, max_context_tokens

logger = logging.getLogger(__name__)


def context_tokens(model: ModelConfig, score: ScoreConfig) -> int | None:
    """The most tokens of demonstration and anchor together; None: there is no limit."""
    is_vllm = score.backend == "vllm"
    context = max_context_tokens(load_config(model, any_architecture=is_vllm))
    if not is_vllm:
        return context
    given: int | None = score.vllm.get("max_model_len")
    limits = [tokens for tokens in (context, given) if tokens is not None]
    # vLLM generates one token after them
    return min(limits) - 1 if limits else None


def demonstration_limit(
    model: ModelConfig, score: ScoreConfig, prompt: PromptConfig, max_anchor_tokens: int
) -> int:
    """The longest demonstration in tokens that leaves room for the longest anchor in the model's
    context.
    """
    context = context_tokens(model, score)
    limit = prompt.max_demonstration_tokens
    if context is None or limit + max_anchor_tokens <= context:
        return limit
    if max_anchor_tokens >= context:
        raise UserError(
            f"prompt.max_anchor_tokens={prompt.max_anchor_tokens}: the longest anchor has "
            f"{max_anchor_tokens} tokens, "
            f"the model's context {context}: lower it, or take shorter anchors"
        )
    logger.info(
        "demonstrations over %d tokens do not fit: the context is %d tokens, the longest anchor %d",
        context - max_anchor_tokens, context, max_anchor_tokens,
    )  # fmt: skip
    return context - max_anchor_tokens
