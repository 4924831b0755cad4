"""Decoder layers compiled by torch.compile, our attention kept out of the graphs: norms, rotary
embeddings and gates become a kernel each instead of some.

All layers of a kind share their graphs, and lengths are symbols in them: how many there are depends
neither on the model's depth nor on the packs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from nuggets_ray.model.body import body_of

BACKEND: Any = "inductor"
COMPILED = "_nuggets_compiled"


@contextmanager
def compiled_layers(model: PreTrainedModel) -> Iterator[None]:
    """Within it the model's decoder layers are compiled ones; compiled once, when first called.

    Raises ValueError for a model whose layers are not recognised.
    """
    layers = decoder_layers(model)
    if not layers:
        raise ValueError("its decoder layers are not recognised: they cannot be compiled")
    compiled = [_compiled(layer) for layer in layers]
    for layer, forward in zip(layers, compiled, strict=True):
        layer.forward = forward
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def decoder_layers(model: PreTrainedModel) -> list[torch.nn.Module]:
    """The layers of the body, as transformers marks them."""
    return [
        module
        for module in body_of(model).modules()
        if isinstance(module, GradientCheckpointingLayer)
    ]


def _compiled(layer: torch.nn.Module) -> Callable[..., Any]:
    # kept with the layer, and gone with it
    kept: dict[str, Any] = layer.__dict__
    if COMPILED not in kept:
        kept[COMPILED] = torch.compile(layer.forward, dynamic=True, backend=BACKEND)
    forward: Callable[..., Any] = kept[COMPILED]
    return forward
