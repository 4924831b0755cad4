"""How fast, of what the machine can do, and how much memory beside the formula: Llama shapes with
random weights, by pack size and by what score/speed.py can switch.

    share = useful FLOP a second (bench/flop.py) over
        the data sheet's rate      what makers print
        the dense rate             a product of two 8,192-squares, timed here: the bar is on this
        the own products' rate     the model's matrices one after another, at the rows of a pack
The work is like the official anchors cut at 200 tokens: 100 of them, 13,226 tokens, four fifths of
them answers, behind demonstrations of 200.
"""

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from nuggets_ray.bench.flop import MatrixProbe, MatrixRate, useful_flop
from nuggets_ray.bench.profiling import where_time_goes
from nuggets_ray.bench.random_models import SIZES, make_random_model
from nuggets_ray.records import Encoding
from nuggets_ray.score.engine import Engine, make_engine
from nuggets_ray.score.head import CHUNK_ROWS
from nuggets_ray.score.memory import Request, peak_memory, shape_of
from nuggets_ray.score.speed import Speed

PREFIX_TOKENS = 200
NUM_ANCHORS = 100
MAX_ANCHOR_TOKENS = 200
ANSWER_SHARE = 0.8
MIN_RUN_S = 2.0
"""Each setting is timed for this long at least, after a first run."""
PACKS_A_RUN = 2
PACK_TOKENS = {"cuda": (16384, 32768, 65536), "cpu": (512, 1024)}
VARIANTS = {
    "gather": Speed("gather"),
    "flex": Speed("flex"),
    "head compiled": Speed("merge", compile_head=True),
    "products fused": Speed("merge", fuse_products=True),
    "layers compiled": Speed("merge", compile_layers=True),
    "layers and head compiled": Speed("merge", compile_layers=True, compile_head=True),
    "the same, gather": Speed("gather", compile_layers=True, compile_head=True),
}
TINY: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


@dataclass(frozen=True, slots=True)
class Timed:
    """One setting: seconds a row (a candidate with all anchors), useful FLOP a second, the peak
    that was measured and that of the formula in bytes; or why there is none of it."""

    setting: str
    pack_tokens: int
    row_s: float = 0.0
    flops: float = 0.0
    peak_bytes: int = 0
    formula_bytes: int = 0
    failure: str = ""


def make_model(name: str, device: torch.device) -> PreTrainedModel:
    """`name` of random_models.SIZES in bfloat16; or tiny, in float32."""
    if name in SIZES:
        return make_random_model(name, "bfloat16", device.type)
    torch.manual_seed(0)
    with torch.device(device):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(LlamaConfig(**TINY))
    model.eval().requires_grad_(False)
    return model


def make_anchors(vocab_size: int, num: int = NUM_ANCHORS) -> list[Encoding]:
    """Anchors of 36 to 200 tokens, 132 on average."""
    rng = np.random.default_rng(0)
    lengths = np.minimum(MAX_ANCHOR_TOKENS, np.linspace(36, 236, num)).astype(int)
    return [
        Encoding(rng.integers(0, vocab_size, n), np.arange(n) >= (1 - ANSWER_SHARE) * n)
        for n in lengths
    ]


class Bench:
    """A model on a device with its work; `dense` is the FLOP/s of the dense product."""

    def __init__(self, name: str, device: torch.device, dense: float) -> None:
        self.name, self.device, self.dense = name, device, dense
        self.model = make_model(name, device)
        vocab_size = self.model.config.vocab_size
        self.anchors = make_anchors(vocab_size, NUM_ANCHORS if name in SIZES else 8)
        self.row_tokens = PREFIX_TOKENS + sum(anchor.num_tokens for anchor in self.anchors)
        rng = np.random.default_rng(1)
        self.prefixes = [rng.integers(0, vocab_size, PREFIX_TOKENS) for _ in range(64)]
        self.engine = make_engine(self.model, self.anchors, speed=Speed("merge"))

    def timed(self, setting: str, speed: Speed, pack_tokens: int) -> Timed:
        """The setting, or why it cannot be."""
        engine = Engine(self.model, self.anchors, "tree", "", pack_tokens, speed)
        prefixes = self.prefixes_of(pack_tokens)
        try:
            engine.log_probs(prefixes)
            self._reset_peak()
            seconds = _median_seconds(lambda: engine.log_probs(prefixes))
        # what a kernel or a compiler of this machine says is the result
        except Exception as error:
            self._free()
            failure = f"failed: {type(error).__name__}: {' '.join(str(error).split())[:160]}"
            return Timed(setting, pack_tokens, failure=failure)
        if engine.max_pack_tokens < pack_tokens:
            return Timed(setting, pack_tokens, failure="failed: out of memory")
        flop = useful_flop(self.model, self.anchors, prefixes)
        return Timed(
            setting,
            pack_tokens,
            row_s=seconds / len(prefixes),
            flops=flop / seconds,
            peak_bytes=engine.peak_memory_bytes(),
            formula_bytes=self.formula_bytes(pack_tokens, speed),
        )

    def prefixes_of(self, pack_tokens: int) -> list[np.ndarray]:
        """As many candidates as fill a few packs."""
        num = max(1, PACKS_A_RUN * pack_tokens // self.row_tokens)
        return self.prefixes[:num]

    def rates(self, pack_tokens: int) -> MatrixRate:
        """FLOP/s of the model's own products at the rows of a pack."""
        probe = MatrixProbe(self.model, pack_tokens, CHUNK_ROWS[self.device.type])
        num_answers = sum(anchor.num_answer_tokens for anchor in self.anchors)
        return probe.rate(self.row_tokens, num_answers)

    def profile(self, pack_tokens: int, speed: Speed) -> dict[str, float]:
        """Seconds of a run by group."""
        engine = Engine(self.model, self.anchors, "tree", "", pack_tokens, speed)
        prefixes = self.prefixes_of(pack_tokens)
        engine.log_probs(prefixes)
        call: Callable[[], Any] = lambda: engine.log_probs(prefixes)  # noqa: E731
        return where_time_goes(call, self.model.config.vocab_size)

    def formula_bytes(self, pack_tokens: int, speed: Speed) -> int:
        """The peak by score/memory.py; 0 where it has no number."""
        shape = shape_of(self.model.config, self.model.num_parameters())
        if shape is None:
            return 0
        lengths = [anchor.num_tokens for anchor in self.anchors]
        request = Request(
            dtype=str(self.model.dtype).removeprefix("torch."),
            device=self.device.type,
            max_pack_tokens=pack_tokens,
            demonstration_tokens=PREFIX_TOKENS,
            longest_anchor_tokens=max(lengths),
            num_anchor_tokens=sum(lengths),
            num_anchors=len(lengths),
            gpu_attention=speed.gpu_attention,
        )
        return peak_memory(shape, request).peak_bytes

    def close(self) -> None:
        """Give the memory back."""
        del self.engine, self.model
        self._free()

    def _free(self) -> None:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _reset_peak(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()


def settings(device: torch.device) -> Iterator[tuple[str, Speed, int | None]]:
    """(name, speed, pack) to time in turn; pack None: the best so far."""
    for pack_tokens in PACK_TOKENS[device.type]:
        yield "as it is", Speed("merge"), pack_tokens
    for name, speed in VARIANTS.items():
        # on a CPU the kernel is not chosen
        if device.type == "cuda" or speed.gpu_attention == "merge":
            yield name, speed, None


def _median_seconds(call: Callable[[], Any]) -> float:
    seconds: list[float] = []
    while not seconds or (sum(seconds) < MIN_RUN_S and len(seconds) < 20):
        started = time.perf_counter()
        call()  # it waits for the device at its end
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))
