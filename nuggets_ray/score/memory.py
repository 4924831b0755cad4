"""The peak memory of one replica of score.backend=transformers, by a formula with named terms.

    on a GPU  peak = weights + max(check, kept + max(layer, vocabulary))        (never measured)
    on a CPU  peak = process + weights + max(checkpoint, kernels + max(check, vocabulary) + kept +
                     HEAP * layer)
    layer     = max(MLP, norm, attention) of a pack's T tokens
No term grows with the number of candidates. Written for the tree engine and dense layers without
sliding window or soft-cap. Numbers in, numbers out.

Legend: T packed tokens, E hidden size, I intermediate size, Q = query heads x head size, K = key
heads x head size, V vocabulary.
"""

import math
from dataclasses import dataclass
from typing import Any

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.model.load import load_config
from nuggets_ray.model.size import model_size
from nuggets_ray.score.head import CHUNK_ROWS
from nuggets_ray.score.self_check import CHECK_ANCHOR_TOKENS, check_prefixes

MIB = 1 << 20
ITEM_BYTES = {"bfloat16": 2, "float32": 4}
PROCESS_BYTES = 620 * MIB
"""A Ray worker with torch, transformers and this package, before a model is loaded; without Ray
480 MiB."""
KERNELS_BYTES = {"bfloat16": 320 * MIB, "float32": 20 * MIB}
"""What the CPU's matrix products keep: in bfloat16 a compiled kernel for each shape, of which
worker_environment.FEW_KERNELS allows 256. Measured on the demo model, where they are full after 14
candidates x 40 anchors, and the process grows no more."""
HEAP = {"bfloat16": 1.5, "float32": 3.5}
"""On a CPU freed tensors stay in the heap for the next ones, which do not fill it exactly. Measured
on the demo model with packs of 1,024, 4,096 and 8,192 tokens: 1 to 2.5 times a layer in bfloat16,
1.9 to 4.7 in float32, which makes the sum right within -4% and +32%."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's sizes, in values; `checkpoint_item_bytes` of its stored weights (None: unknown),
    `check_tokens` of the longest sequence that is checked at start."""

    num_parameters: int
    num_layers: int
    hidden_size: int
    intermediate_size: int
    query_size: int
    key_size: int
    vocabulary_size: int
    checkpoint_item_bytes: int | None
    check_tokens: int


@dataclass(frozen=True, slots=True)
class Request:
    """How the replica is used: `dtype` (bfloat16 or float32), `device` (cpu or cuda), and tokens:
    the pack limit, the longest demonstration, the longest anchor, all `num_anchors`;
    `gpu_attention` merge or gather (kernels/varlen.py)."""

    dtype: str
    device: str
    max_pack_tokens: int
    demonstration_tokens: int
    longest_anchor_tokens: int
    num_anchor_tokens: int
    num_anchors: int
    gpu_attention: str = "merge"

    @property
    def packed_tokens(self) -> int:
        """Of the largest pack: a longer segment has one of its own, and on a CPU no pack holds more
        than one candidate."""
        whole = self.demonstration_tokens + self.num_anchor_tokens
        usual = self.max_pack_tokens
        if self.device == "cpu":
            usual = min(usual, whole)
        return max(usual, self.demonstration_tokens, self.longest_anchor_tokens)

    @property
    def is_split(self) -> bool:
        """A candidate with all anchors is more than a pack."""
        return self.demonstration_tokens + self.num_anchor_tokens > self.max_pack_tokens

    @property
    def gathered_tokens(self) -> int:
        """Keys of a pack that stand behind a copy of their demonstration's, with those, in the
        gather: one copy an anchor."""
        anchor_tokens = max(1, self.num_anchor_tokens)
        if self.is_split:
            num_anchors = min(
                self.num_anchors, self.num_anchors * self.packed_tokens / anchor_tokens
            )
        else:
            row_tokens = self.demonstration_tokens + anchor_tokens
            num_anchors = self.num_anchors * self.packed_tokens // row_tokens
        return self.packed_tokens + math.ceil(num_anchors) * self.demonstration_tokens


@dataclass(frozen=True, slots=True)
class Memory:
    """The terms, in bytes. `heap` is how often a CPU's heap holds a layer, `checkpoint` the file's
    pages while its weights are converted, `kernels` what the CPU's matrix products keep, `check`
    the reference's logits at start, `kept` the demonstration's keys and values over all layers.
    """

    device: str
    heap: float
    process: int
    weights: int
    checkpoint: int
    kernels: int
    check: int
    kept: int
    mlp: int
    norm: int
    attention: int
    vocabulary: int

    @property
    def layer(self) -> int:
        """The worst moment of a layer."""
        return max(self.mlp, self.norm, self.attention)

    @property
    def live_bytes(self) -> int:
        """What tensors hold at the worst moment after loading: the peak of a GPU's allocator."""
        return self.weights + max(self.check, self.kept + max(self.layer, self.vocabulary))

    @property
    def peak_bytes(self) -> int:
        """What the engine's `peak_memory_bytes` says: of the GPU, or of the process on a CPU."""
        return self.host_bytes if self.device == "cpu" else self.live_bytes

    @property
    def host_bytes(self) -> int:
        """The process's largest resident set; for a GPU, weights pass through it."""
        if self.device != "cpu":
            return self.process + self.weights + self.checkpoint
        scoring = max(self.check, self.vocabulary) + self.kept + round(self.heap * self.layer)
        return self.process + self.weights + max(self.checkpoint, self.kernels + scoring)


def does_not_fit(model: ModelConfig, dtype: str) -> str:
    """One sentence for a model whose weights a GPU cannot hold, with the formula's number."""
    size = model_size(model)
    needs = "" if size is None else f" ({size.num_parameters * ITEM_BYTES[dtype] / 2**30:.1f} GiB)"
    return (
        f"model.path={model.path}: its weights in {dtype}{needs} do not fit the GPU: take a larger "
        "one, a smaller model, or score.backend=vllm with cluster.gpus_per_worker=2"
    )


def replica_memory(model: ModelConfig, request: Request) -> Memory | None:
    """The terms for the model's configuration, no weights loaded; None where the formula is not
    made for it."""
    size = model_size(model)
    if size is None:
        return None
    shape = shape_of(load_config(model), size.num_parameters)
    return None if shape is None else peak_memory(shape, request)


def shape_of(config: Any, num_parameters: int) -> Shape | None:
    """The sizes in a transformers `config`; None where the formula is not made for the model."""
    text = config.get_text_config()
    heads = getattr(text, "num_attention_heads", None)
    is_dense = not any(getattr(text, key, None) for key in ("num_experts", "num_local_experts"))
    if not (is_dense and heads and isinstance(getattr(text, "intermediate_size", None), int)):
        return None
    head_size = getattr(text, "head_dim", None) or text.hidden_size // heads
    stored = str(getattr(config, "dtype", None)).removeprefix("torch.")
    return Shape(
        num_parameters=num_parameters,
        num_layers=text.num_hidden_layers,
        hidden_size=text.hidden_size,
        intermediate_size=text.intermediate_size,
        query_size=heads * head_size,
        key_size=(getattr(text, "num_key_value_heads", None) or heads) * head_size,
        vocabulary_size=text.vocab_size,
        checkpoint_item_bytes={**ITEM_BYTES, "float16": 2}.get(stored),
        check_tokens=max(map(len, check_prefixes(text))) + max(CHECK_ANCHOR_TOKENS),
    )


def peak_memory(shape: Shape, request: Request, process_bytes: int = PROCESS_BYTES) -> Memory:
    """The terms for a model and its use, in bytes.

    Values that live at once, a token: while a layer computes, its input and the residual (2 E); in
    the MLP also its normed input and gate, up and product (E + 3 I); in the norm a float32 copy and
    its product.
    """
    item, cpu = ITEM_BYTES[request.dtype], request.device == "cpu"
    widened = 0 if item == 4 else 4
    tokens, hidden = request.packed_tokens, shape.hidden_size
    query, key = shape.query_size, shape.key_size
    kept_tokens = request.demonstration_tokens if request.is_split else 0
    # both halves of the softmax and their merge, against one piece (kernels/fused.py, varlen.py
    # against joint.py); the fused one has the keys for every query head
    attention = tokens * (2 * hidden + query + 2 * key)
    if not cpu and request.gpu_attention == "gather":
        joined = kept_tokens and kept_tokens + tokens  # what was kept, with the pack's own
        attention += tokens * query + 2 * key * (request.gathered_tokens + joined)
    else:
        attention += tokens * query * (3 if cpu and widened else 6 if not cpu else 7)
    converts = shape.checkpoint_item_bytes not in (None, item)
    checked = 2 * 4 + widened + item if cpu else 4 + widened + item
    logits = item + widened + 4
    return Memory(
        device=request.device,
        heap=HEAP[request.dtype],
        process=process_bytes,
        weights=shape.num_parameters * item,
        checkpoint=shape.num_parameters * (shape.checkpoint_item_bytes or 0) * converts,
        kernels=KERNELS_BYTES[request.dtype],
        check=shape.check_tokens * shape.vocabulary_size * checked,
        kept=2 * shape.num_layers * key * kept_tokens * item,
        mlp=tokens * item * 3 * (hidden + shape.intermediate_size),
        norm=tokens * hidden * (4 * item + max(4, 2 * widened)),
        attention=attention * item,
        vocabulary=tokens * hidden * item
        + CHUNK_ROWS[request.device] * shape.vocabulary_size * logits,
    )
