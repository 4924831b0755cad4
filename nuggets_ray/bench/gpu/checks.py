"""Is every way to compute the log-probs right on this device? Tiny models whose attention differs,
with weights so large that a wrong mask shows, against one pair a forward (score/reference.py).

A way is right where it is as near to the model's float32 log-probs as its dtype allows, in the root
mean square over all pairs: within 1e-4 nats in float32; in bfloat16 within twice what the model's
own forward is off.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GptOssConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
)

from nuggets_ray.model.load import keep_soft_cap
from nuggets_ray.records import Encoding
from nuggets_ray.score.kv_cache import kv_cache_log_probs
from nuggets_ray.score.plain import plain_log_probs
from nuggets_ray.score.reference import reference_log_probs
from nuggets_ray.score.self_check import ComputeLogProbs
from nuggets_ray.score.speed import Speed
from nuggets_ray.score.tree import tree_log_probs

VOCABULARY = 97
WINDOW = 40
COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
FAMILIES: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama": lambda: LlamaConfig(**COMMON),
    "mistral, sliding window": lambda: MistralConfig(**COMMON, sliding_window=WINDOW),
    "gemma 2, soft-cap and windows": lambda: Gemma2Config(
        **COMMON,
        sliding_window=WINDOW,
        query_pre_attn_scalar=32,
        attn_logit_softcapping=4.0,
        final_logit_softcapping=9.0,
    ),
    "gpt-oss, sinks and windows": lambda: GptOssConfig(
        **COMMON, sliding_window=WINDOW, num_local_experts=4, num_experts_per_tok=2
    ),
}
PREFIX_TOKENS = (150, 37, 0)
ANCHOR_TOKENS = ((5, 20), (60, 80), (1, 1), (9, 30), (40, 20))
"""Prompt and answer of each."""
PACK_TOKENS = (200, 2000)
"""Demonstrations apart from some of their anchors; all candidates together."""
TOLERANCE_NATS = 1e-4
TIMES_OWN_ROUNDING = 2.0
LEAST_ROUNDING_NATS = 0.02


@dataclass(frozen=True, slots=True)
class Checked:
    """How far a way is off the float32 reference, what is allowed (nats), and why it has none ("":
    it has)."""

    family: str
    dtype: str
    way: str
    off_nats: float
    allowed_nats: float
    failure: str = ""

    @property
    def is_right(self) -> bool:
        return not self.failure and self.off_nats <= self.allowed_nats


def check_all(device: torch.device, left_s: Callable[[], float]) -> Iterator[Checked]:
    """Every family in both dtypes, every way; what there is no time for is told as such. What
    compiles comes last: it takes longest."""
    for compiles in (False, True):
        for family in FAMILIES:
            for dtype in (torch.float32, torch.bfloat16):
                ways = ways_of(family, dtype, device).items()
                some = {name: way for name, way in ways if ("compiled" in name) == compiles}
                if some:
                    yield from _check_family(family, dtype, device, left_s, some)


def _check_family(
    family: str,
    dtype: torch.dtype,
    device: torch.device,
    left_s: Callable[[], float],
    ways: dict[str, ComputeLogProbs],
) -> Iterator[Checked]:
    anchors, prefixes = _work()
    model = sharp_model(family).to(device)  # type: ignore[arg-type]
    exact_CA = reference_log_probs(model, anchors, prefixes)
    allowed = TOLERANCE_NATS
    model.to(dtype)
    if dtype != torch.float32:
        own = _off(reference_log_probs(model, anchors, prefixes), exact_CA)
        allowed = max(LEAST_ROUNDING_NATS, TIMES_OWN_ROUNDING * own)
    told = (family, str(dtype).removeprefix("torch."))
    for name, log_probs in ways.items():
        if left_s() <= 0:
            yield Checked(*told, name, 0.0, allowed, "skipped: no time left")
            continue
        off, failure = 0.0, ""
        try:
            with torch.inference_mode():
                for size in PACK_TOKENS:
                    got_CA = log_probs(model, anchors, prefixes, size).cpu().numpy()
                    off = max(off, _off(got_CA, exact_CA))
        # a kernel or a compiler of this machine: what it says is the result
        except Exception as error:
            failure = f"failed: {type(error).__name__}: {' '.join(str(error).split())[:160]}"
        yield Checked(*told, name, off, allowed, failure)


def _off(got_CA: np.ndarray, exact_CA: np.ndarray) -> float:
    """The root mean square of the differences; infinite where one is not a number."""
    off = float(np.sqrt(np.square(got_CA - exact_CA).mean()))
    return off if np.isfinite(off) else math.inf


def ways_of(family: str, dtype: torch.dtype, device: torch.device) -> dict[str, ComputeLogProbs]:
    """What is checked of a family: every kernel that would be used for it, and the other engines;
    what compiles and fuses, of the first family alone."""
    on_gpu, is_first = device.type == "cuda", family == next(iter(FAMILIES))
    speeds = {"tree": Speed("merge")}
    if on_gpu:
        speeds = {"tree, flex": Speed("flex")}
        if dtype == torch.bfloat16:
            speeds |= {f"tree, {way}": Speed(way) for way in ("merge", "gather")}
    if is_first:
        speeds |= {
            "tree, layers compiled": Speed("merge", compile_layers=True),
            "tree, head compiled": Speed("merge", compile_head=True),
            "tree, products fused": Speed("merge", fuse_products=True),
            "tree, layers and head compiled": Speed("merge", True, True),
        }
    ways: dict[str, ComputeLogProbs] = {
        name: partial(tree_log_probs, speed=speed) for name, speed in speeds.items()
    }
    return ways | {"kv_cache": kv_cache_log_probs, "plain": plain_log_probs}


def sharp_model(family: str) -> PreTrainedModel:
    """A float32 model on the CPU whose log-probs spread over several nats."""
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(FAMILIES[family]())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim >= 2:
                weight.normal_(std=1.5 / weight.shape[-1] ** 0.5)
            elif "sinks" in name:
                weight.normal_()
        head: Any = model.get_output_embeddings()
        head.weight = torch.nn.Parameter(torch.randn(head.weight.shape))
    keep_soft_cap(model)
    model.eval().requires_grad_(False)
    return model


def _work() -> tuple[list[Encoding], list[np.ndarray]]:
    rng = np.random.default_rng(0)
    anchors = [
        Encoding(rng.integers(0, VOCABULARY, prompt + answer), np.arange(prompt + answer) >= prompt)
        for prompt, answer in ANCHOR_TOKENS
    ]
    return anchors, [rng.integers(0, VOCABULARY, num_tokens) for num_tokens in PREFIX_TOKENS]
