"""How much of its work a machine could not avoid, and how fast it multiplies matrices.

    useful FLOP = 2 x non-embedding parameters x tokens    every demonstration and anchor token once
                + 4 x heads x head size x visible pairs    in each layer
                + 2 x hidden x vocabulary x answer tokens
Of dense models; norms count as parameters.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from nuggets_ray.model.body import body_of
from nuggets_ray.records import Encoding

MIN_PROBE_S = 0.1
"""How long each shape is multiplied, at least; a call takes some 40 ms on a core."""

DENSE_SIZE = 8192

DATA_SHEET_TFLOPS = {
    "B200": 2250.0,
    "H200": 989.4,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.5,
    "H100": 989.4,
    "A100": 312.0,
    "L40S": 362.05,
    "L40": 181.05,
    "L4": 121.0,
    "A10G": 70.0,
    "RTX 4090": 165.2,
}
"""Dense bfloat16 TFLOP/s by the makers' data sheets; the first name that the device's name
contains."""


@dataclass(frozen=True, slots=True)
class MatrixRate:
    """FLOP per second (CPU seconds on a CPU, wall seconds on a GPU) of the model's own matrix
    products alone.

    `mean` is the mean over the shapes, weighted by their FLOP; `in_turn` all their FLOP over the
    time that they take one after another, which is never more; `dense`, on a GPU alone, that of a
    product of two DENSE_SIZE squares.
    """

    mean: float
    in_turn: float
    dense: float | None = None


def useful_flop(
    model: PreTrainedModel, anchors: Sequence[Encoding], prefixes: Sequence[np.ndarray]
) -> float:
    """FLOP that scoring the candidates `prefixes` on `anchors` cannot avoid."""
    config = model.config.get_text_config()
    num_tokens = sum(map(len, prefixes)) + len(prefixes) * sum(a.num_tokens for a in anchors)
    num_answers = len(prefixes) * sum(anchor.num_answer_tokens for anchor in anchors)
    heads = config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
    lengths = [anchor.num_tokens for anchor in anchors]
    pairs = sum(
        visible_pairs(len(prefix), lengths, window) * num_layers
        for window, num_layers in _windows(config).items()
        for prefix in prefixes
    )
    return float(
        2 * num_body_parameters(model) * num_tokens
        + 4 * heads * head_size * pairs
        + 2 * config.hidden_size * config.vocab_size * num_answers
    )


def visible_pairs(prefix_tokens: int, anchor_tokens: Sequence[int], window: int | None) -> int:
    """(query, key) pairs of a layer: each token sees the demonstration and its own anchor up to
    itself, at most `window` positions."""

    def seen(start: int, stop: int) -> int:
        keys = np.arange(start, stop) + 1
        return int((keys if window is None else np.minimum(keys, window)).sum())

    return seen(0, prefix_tokens) + sum(
        seen(prefix_tokens, prefix_tokens + n) for n in anchor_tokens
    )


def num_body_parameters(model: PreTrainedModel) -> int:
    """Parameters but for the token embeddings and the vocabulary projection, tied or not."""
    embeddings = (model.get_input_embeddings(), model.get_output_embeddings())
    apart = {id(p) for layer in embeddings if layer is not None for p in layer.parameters()}
    return sum(p.numel() for p in model.parameters() if id(p) not in apart)


def _windows(config: Any) -> Counter[int | None]:
    """How many layers have each sliding window (None: they see everything)."""
    window = getattr(config, "sliding_window", None)
    types = getattr(config, "layer_types", None)
    if types is None:
        return Counter({window: config.num_hidden_layers})
    return Counter(window if kind == "sliding_attention" else None for kind in types)


class MatrixProbe:
    """Multiplies matrices of the model's own shapes, to time against its runs.

    `body_rows` tokens at once go through every linear layer, `head_rows` through the vocabulary
    projection.
    """

    def __init__(self, model: PreTrainedModel, body_rows: int, head_rows: int) -> None:
        config = model.config.get_text_config()
        self.device, self.dtype = model.device, model.dtype
        self.body = linear_shapes(model)
        self.head = (config.hidden_size, config.vocab_size)
        self.rows = {shape: body_rows for shape in self.body} | {self.head: head_rows}

    @torch.inference_mode()
    def rate(self, num_tokens: int, num_answers: int) -> MatrixRate:
        """The rate now, for a run of that many tokens and answer tokens."""
        # Counted apart: a linear layer may happen to have the projection's shape.
        parts = [(shape, 2 * num_tokens * count) for shape, count in self.body.items()]
        parts.append((self.head, 2 * num_answers))
        flop = np.array([weight * shape[0] * shape[1] for shape, weight in parts], dtype=float)
        rate = np.array([self._rate(shape) for shape, _ in parts])
        return MatrixRate(
            mean=float((flop * rate).sum() / flop.sum()),
            in_turn=float(flop.sum() / (flop / rate).sum()),
            dense=dense_rate(self.device, self.dtype) if self.device.type == "cuda" else None,
        )

    def _rate(self, shape: tuple[int, int]) -> float:
        # Not kept: they would count as the run's memory.
        make = {"dtype": self.dtype, "device": self.device}
        weight = torch.randn(shape[1], shape[0], **make)  # type: ignore[call-overload]
        rows = torch.randn(self.rows[shape], shape[0], **make)  # type: ignore[call-overload]
        return product_rate(rows, weight)


def dense_rate(device: torch.device, dtype: torch.dtype, size: int = DENSE_SIZE) -> float:
    """FLOP/s of a product of two squares: what the device reaches where nothing is in its way."""
    square = torch.randn(size, size, dtype=dtype, device=device)
    return product_rate(square, square)


def product_rate(rows: torch.Tensor, weight: torch.Tensor) -> float:
    """FLOP/s of one linear layer: in CPU seconds on a CPU, in wall seconds on a GPU.

    Many are started before the device is waited for: shapes of some microseconds would otherwise
    show the wait.
    """
    on_gpu = rows.is_cuda
    clock = time.perf_counter if on_gpu else time.process_time
    num_calls, seconds = 1, 0.0
    torch.nn.functional.linear(rows, weight)
    while True:
        if on_gpu:
            torch.cuda.synchronize()
        started = clock()
        for _ in range(num_calls):
            torch.nn.functional.linear(rows, weight)
        if on_gpu:
            torch.cuda.synchronize()
        seconds = clock() - started
        if seconds >= MIN_PROBE_S:
            return 2 * len(rows) * weight.numel() * num_calls / seconds
        # as many as it needs, by what these took, and a few more
        num_calls = max(2 * num_calls, int(1.2 * num_calls * MIN_PROBE_S / max(seconds, 1e-6)))


def linear_shapes(model: PreTrainedModel) -> Counter[tuple[int, int]]:
    """(inputs, outputs) of the body's linear layers, and how many there are of each."""
    shapes: Counter[tuple[int, int]] = Counter()
    for module in body_of(model).modules():
        if isinstance(module, torch.nn.Linear):
            shapes[(module.in_features, module.out_features)] += 1
        elif isinstance(module, Conv1D):  # GPT-2's, whose weight is the transpose
            shapes[(module.nx, module.nf)] += 1
    return shapes


def data_sheet_flops(device_name: str) -> float | None:
    """Dense bfloat16 FLOP/s of a GPU by its data sheet; None where it is not known here."""
    matching = (tflops for name, tflops in DATA_SHEET_TFLOPS.items() if name in device_name)
    tflops = next(matching, None)
    return None if tflops is None else tflops * 1e12
