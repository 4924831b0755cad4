"""Linear layers of the same input as one product: queries, keys and values; gate and up.

Their weights become rows of one matrix, of which the layers keep views, so nothing is held twice.
The first of them computes all, the others take their part: if they are called with another input,
they compute it themselves.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.nn.functional import linear
from transformers import PreTrainedModel

from nuggets_ray.model.body import body_of

GROUPS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))


@contextmanager
def fused_products(model: PreTrainedModel) -> Iterator[None]:
    """Within it the products are fused. Raises ValueError where there are none to fuse."""
    products = [OneProduct(layers) for layers in groups_of(model)]
    if not products:
        raise ValueError("it has no linear layers of a common input: nothing can be fused")
    for product in products:
        product.begin()
    try:
        yield
    finally:
        for product in products:
            product.end()


def groups_of(model: PreTrainedModel) -> list[list[torch.nn.Linear]]:
    """The linear layers that have one input, by the names that transformers gives them."""
    groups = []
    for module in body_of(model).modules():
        for names in GROUPS:
            layers: list[Any] = [getattr(module, name, None) for name in names]
            if all(type(layer) is torch.nn.Linear for layer in layers):
                biased = {layer.bias is None for layer in layers}
                if len(biased) == len({layer.in_features for layer in layers}) == 1:
                    groups.append(layers)
    return groups


class OneProduct:
    """Some linear layers, computed at once between `begin` and `end`."""

    def __init__(self, layers: list[torch.nn.Linear]) -> None:
        self.layers: list[Any] = layers
        self.sizes = [layer.out_features for layer in layers]
        self.weight = _joined([layer.weight for layer in layers])
        biases = [layer.bias for layer in layers if layer.bias is not None]
        self.bias = _joined(biases) if biases else None
        self._input: torch.Tensor | None = None
        self._outputs: tuple[torch.Tensor, ...] = ()

    def begin(self) -> None:
        first, *others = self.layers
        first.forward = self._first
        for place, layer in enumerate(others, start=1):
            part: Callable[..., torch.Tensor] = partial(self._other, place)
            layer.forward = part

    def end(self) -> None:
        for layer in self.layers:
            del layer.forward
        self._input, self._outputs = None, ()

    def _first(self, hidden: torch.Tensor) -> torch.Tensor:
        joined: torch.Tensor = linear(hidden, self.weight, self.bias)
        self._input, self._outputs = hidden, joined.split(self.sizes, dim=-1)
        return self._outputs[0]

    def _other(self, place: int, hidden: torch.Tensor) -> torch.Tensor:
        if self._input is not hidden:
            layer = self.layers[place]
            alone: torch.Tensor = linear(hidden, layer.weight, layer.bias)
            return alone
        output = self._outputs[place]
        if place == len(self.layers) - 1:
            self._input, self._outputs = None, ()
        return output


def _joined(parameters: Sequence[torch.Tensor]) -> torch.Tensor:
    """The parameters as rows of one tensor, of which they are views from then on."""
    rows = [len(parameter) for parameter in parameters]
    first = parameters[0].data
    starts = [sum(rows[:n]) * first[0].numel() for n in range(len(rows))]
    storage = first.untyped_storage()
    is_joined = all(
        parameter.untyped_storage().data_ptr() == storage.data_ptr()
        and parameter.storage_offset() == first.storage_offset() + start
        for parameter, start in zip(parameters, starts, strict=True)
    )
    if is_joined:
        size = (sum(rows), *first.shape[1:])
        return first.as_strided(size, first.stride(), first.storage_offset())
    with torch.inference_mode(False), torch.no_grad():  # parameters can be no inference tensors
        joined = torch.cat([parameter.data for parameter in parameters])
        for parameter, part in zip(parameters, joined.split(rows), strict=True):
            parameter.data = part
    return joined
