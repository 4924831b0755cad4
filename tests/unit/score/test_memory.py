"""The memory formula: its terms by hand, and its sum beside what a process really takes."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from transformers import GPT2Config, LlamaConfig, MixtralConfig

from nuggets_ray.score.memory import HEAP, KERNELS_BYTES, Request, Shape, peak_memory, shape_of
from nuggets_ray.score.worker_environment import FEW_KERNELS, KEEP_MEMORY

SHAPE = Shape(
    num_parameters=1000,
    num_layers=3,
    hidden_size=32,
    intermediate_size=96,
    query_size=32,
    key_size=16,
    vocabulary_size=100,
    checkpoint_item_bytes=4,
    check_tokens=155,
)
REQUEST = Request("float32", "cpu", 128, 20, 50, 300, 6)


def test_the_sizes_are_those_of_the_config() -> None:
    config = LlamaConfig(
        vocab_size=100, hidden_size=32, intermediate_size=96, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, dtype="float32",
    )  # fmt: skip
    assert shape_of(config, 1000) == SHAPE
    assert shape_of(LlamaConfig(head_dim=10, num_attention_heads=4), 1).query_size == 40  # type: ignore[union-attr]


@pytest.mark.parametrize("config", [GPT2Config(), MixtralConfig()])
def test_there_is_no_number_for_a_model_that_the_formula_is_not_made_for(config: object) -> None:
    assert shape_of(config, 1000) is None


def test_the_largest_pack_is_the_limit_but_for_a_longer_segment_and_what_there_is() -> None:
    assert REQUEST.packed_tokens == 128
    assert replace(REQUEST, demonstration_tokens=200).packed_tokens == 200
    assert replace(REQUEST, longest_anchor_tokens=220).packed_tokens == 220
    few = replace(REQUEST, num_anchor_tokens=60)
    assert few.packed_tokens == 80
    assert replace(few, device="cuda").packed_tokens == 128  # other candidates fill it


def test_the_terms_are_what_lives_at_once() -> None:
    memory = peak_memory(SHAPE, REQUEST, process_bytes=7)
    assert memory.weights == 1000 * 4 and memory.checkpoint == 0
    assert memory.kept == 2 * 3 * 16 * 20 * 4
    assert memory.mlp == 128 * 4 * 3 * (32 + 96)
    assert memory.vocabulary == 128 * 32 * 4 + 128 * 100 * 8
    assert memory.layer == memory.mlp
    assert memory.live_bytes == 4000 + memory.kept + memory.mlp
    scoring = memory.kernels + memory.check + memory.kept + HEAP["float32"] * memory.mlp
    assert memory.host_bytes == 7 + 4000 + scoring
    whole = peak_memory(SHAPE, replace(REQUEST, num_anchor_tokens=60))
    assert whole.kept == 0


def test_weights_of_another_dtype_are_converted_beside_their_file() -> None:
    shape = replace(SHAPE, num_parameters=10**9)
    memory = peak_memory(shape, replace(REQUEST, dtype="bfloat16"), process_bytes=7)
    assert memory.host_bytes == 7 + 2 * 10**9 + 4 * 10**9
    same = peak_memory(shape, REQUEST, process_bytes=7)
    assert same.checkpoint == 0 and same.host_bytes < 7 + 4.2 * 10**9


def test_on_a_gpu_the_host_holds_the_process_and_weights_that_pass_through() -> None:
    shape = replace(SHAPE, checkpoint_item_bytes=2)
    memory = peak_memory(shape, replace(REQUEST, dtype="bfloat16", device="cuda"), process_bytes=7)
    assert memory.host_bytes == 7 + 2000
    assert memory.live_bytes == 2000 + memory.vocabulary + memory.kept
    assert memory.vocabulary == 128 * 32 * 2 + 1024 * 100 * 10


def test_the_gather_copies_a_demonstration_for_each_anchor() -> None:
    shape = replace(SHAPE, key_size=4000)  # attention is the worst moment
    merge = replace(REQUEST, dtype="bfloat16", device="cuda")
    gather = replace(merge, gpu_attention="gather")
    # split: the pack is full of anchors of 50 tokens, each behind 20
    assert gather.is_split and gather.gathered_tokens == 128 + 3 * 20
    copied = 2 * 4000 * (128 + 3 * 20) + 2 * 4000 * (20 + 128)
    assert peak_memory(shape, gather).attention == 2 * (128 * (2 * 32 + 2 * 32 + 2 * 4000) + copied)
    # whole: two candidates with their six anchors
    whole = replace(gather, max_pack_tokens=640)
    assert not whole.is_split and whole.gathered_tokens == 640 + 12 * 20
    assert (
        peak_memory(shape, whole).live_bytes
        > peak_memory(shape, replace(whole, gpu_attention="merge")).live_bytes
    )
    on_cpu = replace(gather, device="cpu")
    assert peak_memory(shape, on_cpu) == peak_memory(shape, replace(merge, device="cpu"))


# A seeded Llama whose activations are tens of MiB, in a process of its own.
MEASURED = """
import gc, json, sys
import numpy as np, torch
from transformers import LlamaConfig, LlamaForCausalLM
from nuggets_ray.records import Encoding
from nuggets_ray.score.engine import make_engine
from nuggets_ray.score.memory import Request, peak_memory, shape_of

dtype, max_pack_tokens, num_anchors, *counts = json.loads(sys.argv[1])

def status(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(key + ":"))

torch.set_num_threads(1)
config = LlamaConfig(
    vocab_size=8000, hidden_size=256, intermediate_size=1024, num_hidden_layers=4,
    num_attention_heads=8, num_key_value_heads=4,
)
import transformers.models.llama.modeling_llama
before = status("VmRSS")
torch.manual_seed(0)
model = LlamaForCausalLM(config).to(getattr(torch, dtype)).eval()
rng = np.random.default_rng(0)
anchors = [Encoding(rng.integers(0, 8000, 200), np.arange(200) >= 150) for _ in range(num_anchors)]
engine = make_engine(model, anchors, engine="tree", max_pack_tokens=max_pack_tokens)
peaks, tensors, done = [], [], 0
for count in counts:
    for _ in range(count - done):
        engine.log_probs([rng.integers(0, 8000, 300)])
    done = count
    gc.collect()
    peaks.append(status("VmHWM") - before)
    tensors.append(sum(torch.is_tensor(found) for found in gc.get_objects()))
shape = shape_of(config, sum(p.numel() for p in model.parameters()))
request = Request(dtype, "cpu", max_pack_tokens, 300, 200, 200 * num_anchors, num_anchors)
memory = peak_memory(shape, request, process_bytes=0)
print(json.dumps({
    "peaks": peaks, "tensors": tensors, "live": memory.live_bytes, "host": memory.host_bytes,
}))
"""
HAND_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""glibc gives every freed tensor back, so that the resident set is what lives."""


def measure(malloc: dict[str, str], *arguments: object) -> dict[str, Any]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", **malloc}
    command = [sys.executable, "-c", MEASURED, json.dumps(arguments)]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


@pytest.mark.long
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="Linux tells peaks there")
@pytest.mark.parametrize(
    ("dtype", "least_kernels"),
    [("float32", KERNELS_BYTES["float32"]), ("bfloat16", 0)],  # without the instructions few
)
def test_what_the_formula_says_lives_at_once_is_what_a_process_takes(
    dtype: str, least_kernels: int
) -> None:
    found = measure(HAND_BACK, dtype, 4096, 21, 1)
    [peak] = found["peaks"]
    at_least = 0.8 * (found["live"] + least_kernels)
    assert at_least < peak < 1.2 * (found["live"] + KERNELS_BYTES[dtype])


@pytest.mark.long
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="Linux tells peaks there")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_more_candidates_take_no_more_memory(dtype: str) -> None:
    found = measure({**KEEP_MEMORY, **FEW_KERNELS}, dtype, 1024, 8, 6, 26)
    after_6, after_26 = found["peaks"]
    # one candidate's log-probs and keys left behind each time would be 2 MiB x 20
    assert after_26 < 1.1 * after_6
    assert found["tensors"][0] == found["tensors"][1]
    assert after_26 < 1.1 * found["host"]
