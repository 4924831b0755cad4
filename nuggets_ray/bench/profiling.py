"""Where the time of a run goes: torch.profiler's operators, summed into a few groups.

Matrix products with a vocabulary-sized operand belong to the vocabulary projection; what no
operator accounts for (Python, waiting) is the rest, so that the groups add up to the whole.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

MATRIX, VOCABULARY, ATTENTION, ELEMENTS, REST = (
    "matrix products",
    "vocabulary projection and log-softmax",
    "attention",
    "element-wise and copies",
    "python and the rest",
)
ATTENTION_WORDS = ("attention", "flash", "flex", "bmm")
"""A decoder's batched products (bmm) are its attention's."""
SOFTMAX_WORDS = ("cross_entropy", "nll_loss", "log_softmax")
MATRIX_WORDS = ("mm", "linear", "matmul", "gemm")


def where_time_goes(call: Callable[[], Any], vocab_size: int) -> dict[str, float]:
    """Seconds of `call` by group: CPU seconds on a CPU, the device's seconds on a GPU."""
    on_gpu = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    clock = time.perf_counter if on_gpu else time.process_time
    with profile(activities=activities, record_shapes=True) as profiled:
        started = clock()
        call()
        if on_gpu:
            torch.cuda.synchronize()
        total = clock() - started
    seconds = dict.fromkeys((MATRIX, VOCABULARY, ATTENTION, ELEMENTS), 0.0)
    for event in profiled.key_averages(group_by_input_shape=True):
        spent = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        seconds[group_of(event.key, event.input_shapes, vocab_size)] += spent / 1e6
    return seconds | {REST: max(0.0, total - sum(seconds.values()))}


def group_of(name: str, input_shapes: list[Any], vocab_size: int) -> str:
    """The group of an operator with inputs of these shapes."""
    sizes = {size for shape in input_shapes if isinstance(shape, list) for size in shape}
    if vocab_size in sizes and "embedding" not in name:
        return VOCABULARY
    if any(word in name for word in SOFTMAX_WORDS):
        return VOCABULARY
    if any(word in name for word in ATTENTION_WORDS):
        return ATTENTION
    if any(word in name for word in MATRIX_WORDS):
        return MATRIX
    return ELEMENTS
