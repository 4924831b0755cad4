"""A language model in two: its body, which gives hidden states, and the vocabulary projection.

The projection is reached by letting the body return given states, so that its scaling, soft-cap and
bias are the model's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nuggets_ray.model.architecture import sees_more_than_text


def body_of(model: Any) -> Any:
    """The module that gives the hidden states. Raises NotImplementedError where there is none."""
    if model.base_model is not model:
        return model.base_model
    # Llama 4's text class names an attribute that only the whole has
    if (body := getattr(model, "model", None)) is not None:
        return body
    raise NotImplementedError("the model has no body apart from its vocabulary projection")


@contextmanager
def body_returns(model: Any, output: Any) -> Iterator[None]:
    """Within it the model's own forward projects `output` in place of what its body computes."""
    body = body_of(model)
    # some heads reach past the body to the decoder in it (OPT)
    decoder = body.get_decoder() if hasattr(body, "get_decoder") else body
    modules = {id(module): module for module in (body, decoder)}
    own = {key: module.__dict__.get("forward") for key, module in modules.items()}
    for module in modules.values():
        module.forward = lambda *arguments, **keywords: output
    try:
        yield
    finally:
        for key, module in modules.items():
            del module.forward
            if own[key] is not None:
                module.forward = own[key]


def text_parts(model: Any) -> list[Any]:
    """The modules that text passes: the whole model; of one that takes more, its decoder and its
    vocabulary projection."""
    if not sees_more_than_text(model.config):
        return [model]
    return [body_of(model).get_decoder(), model.get_output_embeddings()]


def state_size(model: Any) -> int:
    """How many numbers a last hidden state has: OPT's may be projected to the embeddings' size."""
    config = model.config.get_text_config()
    return int(getattr(config, "word_embed_proj_dim", None) or config.hidden_size)
