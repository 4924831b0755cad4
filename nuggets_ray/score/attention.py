"""The attention function that makes a transformers model see a pack as a token tree.

It is registered under a name that transformers' mask registry does not know, so the model builds no
mask of its own. What a pack looks like is set around the forward by `tree_attention`; a keyword
that it does not know raises, because it would change the result.

Legend: T packed tokens, K keys, H query heads, J key heads, D head size, P demonstration tokens.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch.nn.attention.flex_attention import BlockMask
from transformers import AttentionInterface, PreTrainedModel

from nuggets_ray.score.kernels.flex import FLEX_BLOCK, flex_tree_attention, make_block_mask
from nuggets_ray.score.kernels.fused import fused_attention
from nuggets_ray.score.kernels.joint import joint_attention
from nuggets_ray.score.kernels.masked import masked_attention
from nuggets_ray.score.kernels.rule import Rule
from nuggets_ray.score.kernels.varlen import (
    Gathered,
    Kept,
    Spans,
    can_varlen,
    gathered_attention,
    make_gathered,
    make_spans,
    merged_attention,
)
from nuggets_ray.score.layer import at_positions, reach
from nuggets_ray.score.pack import Layout, Pack, make_layout
from nuggets_ray.score.speed import AS_IT_IS, Speed

NAME = "nuggets_tree"
NEUTRAL_KEYWORDS = frozenset(
    {
        "cache_position",
        "output_attentions",
        "output_hidden_states",
        "output_router_logits",
        "position_ids",
        "return_dict",
        "use_cache",
    }
)
"""Keywords that some models pass on and that change nothing here: positions are already in queries
and keys."""


class TreeUnsupported(Exception):
    """The model's attention cannot be computed over a token tree; the message says why."""


class TreeState:
    """The pack in flight, and each layer's keys and values of a demonstration for later packs.

    `gpu_attention` is how a GPU computes it: merge, gather, or flex; what varlen.py cannot do is
    done by flex.py anyway.
    """

    def __init__(self, device: torch.device, gpu_attention: str) -> None:
        self.device = device
        self.gpu_attention = gpu_attention
        self.multiple = FLEX_BLOCK if device.type == "cuda" else 1
        self.num_calls = 0
        self._kept: dict[int, Kept] = {}
        self._block_masks: dict[tuple[int | None, int | None], BlockMask] = {}
        self._sequences: Spans | Gathered | None = None
        self._layout: Layout | None = None

    @property
    def layout(self) -> Layout:
        if self._layout is None:
            raise RuntimeError("the token tree's attention was called before a pack was started")
        return self._layout

    def start(self, pack: Pack) -> Layout:
        """Make `pack` the one in flight; its tokens are padded to a multiple of what the kernel
        needs."""
        self._block_masks.clear()
        self._sequences = None
        self._layout = make_layout(
            pack, self._padded(pack.num_tokens), self._padded(pack.kept_tokens), self.device
        )
        return self._layout

    def kept(self, module: torch.nn.Module, key: torch.Tensor, value: torch.Tensor) -> Kept | None:
        """The layer's kept keys and values, (1, J, K, D), where the pack is seen behind them; keeps
        this pack's demonstration if a later pack needs it."""
        pack = self.layout.pack
        if pack.keeps_prefix:
            prefix = slice(0, self._padded(pack.segments[0].num_tokens))
            self._kept[id(module)] = (key[:, :, prefix].clone(), value[:, :, prefix].clone())
        return self._kept[id(module)] if pack.kept_tokens else None

    def block_mask(self, rule: Rule) -> BlockMask:
        """The pack's block mask, built once for each window and chunk."""
        reach = (rule.window, rule.chunk)
        if reach not in self._block_masks:
            self._block_masks[reach] = make_block_mask(self.layout, *reach)
        return self._block_masks[reach]

    def varlen_attention(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        rule: Rule,
        kept: Kept | None,
    ) -> torch.Tensor:
        """Attention of shape (1, T, H, D) by variable-length sequences, laid out once a pack."""
        if self._sequences is None:
            is_gather = self.gpu_attention == "gather"
            self._sequences = (make_gathered if is_gather else make_spans)(self.layout)
        if isinstance(self._sequences, Gathered):
            return gathered_attention(self._sequences, query, key, value, rule, kept)
        return merged_attention(self._sequences, query, key, value, rule, kept)

    def _padded(self, num_tokens: int) -> int:
        return -(-num_tokens // self.multiple) * self.multiple


_STATE: ContextVar[TreeState] = ContextVar("nuggets_tree_state")


@contextmanager
def tree_attention(model: PreTrainedModel, speed: Speed = AS_IT_IS) -> Iterator[TreeState]:
    """Within it the model's attention is the token tree's; the former one comes back afterwards.

    Raises TreeUnsupported for a model that does not take its attention from transformers' registry.
    """
    former = model.config._attn_implementation
    AttentionInterface.register(NAME, _out_of_graphs() if speed.compile_layers else _attention)
    state = TreeState(model.device, speed.gpu_attention)
    token = _STATE.set(state)
    try:
        model.set_attn_implementation(NAME)
        if model.config._attn_implementation != NAME:
            raise TreeUnsupported("its attention is not taken from transformers' registry")
        yield state
        if not state.num_calls:
            raise TreeUnsupported("its layers do not call the registered attention")
    finally:
        _STATE.reset(token)
        model.set_attn_implementation(former)


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    is_causal: bool | None = None,
    **keywords: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface: (1, heads, T, D) in, (1, T, H, D) out."""
    unknown = [
        name
        for name, given in keywords.items()
        if given is not None and name not in NEUTRAL_KEYWORDS | {"sliding_window"}
    ]
    if unknown:
        raise TreeUnsupported(
            f"its attention has keywords that the tree does not know: {', '.join(unknown)}"
        )
    if attention_mask is not None or dropout or is_causal is False or query.shape[0] != 1:
        raise TreeUnsupported("its attention comes with a mask of its own, dropout or a batch")
    state = _STATE.get()
    state.num_calls += 1
    # what no token of the pack is far enough for changes nothing
    window, chunk = (
        size if size is not None and size < state.layout.max_tokens else None
        for size in reach(module, keywords)
    )
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    rule = Rule(scaling, window, softcap, s_aux, chunk)
    query = at_positions(module, query, state.layout.position_T)
    kept = state.kept(module, key, value)
    out = _compute(state, query, key, value, rule, kept)
    return out.to(query.dtype).contiguous(), None


@functools.cache
def _out_of_graphs() -> Callable[..., Any]:
    """The attention for layers that torch.compile compiles around it."""
    disabled: Callable[..., Any] = torch.compiler.disable(_attention)
    return disabled


def _compute(
    state: TreeState,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    rule: Rule,
    kept: Kept | None,
) -> torch.Tensor:
    """Attention of shape (1, T, H, D) by the kernel that device, dtype and rule ask for."""
    if query.is_cuda and state.gpu_attention != "flex" and can_varlen(query, value, rule):
        return state.varlen_attention(query, key, value, rule, kept)
    if kept is not None:
        key, value = (torch.cat(both, dim=2) for both in zip(kept, (key, value), strict=True))
    if query.is_cuda:
        return flex_tree_attention(state.block_mask(rule), query, key, value, rule)
    is_plain = not rule.is_local and rule.softcap is None
    if not is_plain or query.shape[-1] != value.shape[-1]:
        return masked_attention(state.layout, query, key, value, rule)
    if query.dtype == torch.float32 or rule.sinks_H is not None:
        return fused_attention(state.layout, query, key, value, rule)
    return joint_attention(state.layout, query, key, value, rule)
