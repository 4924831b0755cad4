"""Where the time of a run goes: what torch.profiler saw, summed into a few groups.

On a CPU it sees operators with the shapes of their inputs. On a GPU it sees operators and the
kernels that they started, each with the kernels' time: kernels alone are counted, and those that an
operator with a vocabulary-sized input started belong to the vocabulary projection. What neither
accounts for (Python, waiting) is the rest, so that the groups add up to the whole.
"""

import re
import time
from collections.abc import Callable, Iterable
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
LOOKUP_WORDS = ("embedding", "index_select")
"""Rows of the embedding are copied, which has the vocabulary's size too."""
MATRIX_WORDS = ("mm", "linear", "matmul", "gemm")
KERNELS = (
    (ATTENTION, re.compile(r"flash|fmha|flex|attention", re.I)),
    (VOCABULARY, re.compile(r"softmax|logsumexp|nll_?loss|cross_entropy", re.I)),
    (MATRIX, re.compile(r"gem[mv]|nvjet|cutlass|xmma|cublas|(?<![a-z])(add|b)?mm(?![a-z])", re.I)),
)
"""Kernels have names of their own: products are nvjet_* on Hopper, PyTorch's softmax is
cunn_SoftMaxForward, what inductor fuses bears the names of its operators."""


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
    if on_gpu:
        seconds = seconds_of_kernels(profiled.events(), vocab_size)
    else:
        seconds = dict.fromkeys((MATRIX, VOCABULARY, ATTENTION, ELEMENTS), 0.0)
        for event in profiled.key_averages(group_by_input_shape=True):
            group = group_of(event.key, event.input_shapes, vocab_size)
            seconds[group] += event.self_cpu_time_total / 1e6
    return seconds | {REST: max(0.0, total - sum(seconds.values()))}


def seconds_of_kernels(events: Iterable[Any], vocab_size: int) -> dict[str, float]:
    """Seconds of a device's kernels by group. `events` are the profiler's, of the host and of the
    device; an operator's own lists the kernels that it started (name, duration in us)."""
    seconds = dict.fromkeys((MATRIX, VOCABULARY, ATTENTION, ELEMENTS), 0.0)
    for event in events:
        if event.device_type.name == "CUDA" and not event.is_user_annotation:
            seconds[kernel_group(event.name)] += event.self_device_time_total / 1e6
        elif event.kernels and group_of(event.name, event.input_shapes, vocab_size) == VOCABULARY:
            for kernel in event.kernels:
                seconds[kernel_group(kernel.name)] -= kernel.duration / 1e6
                seconds[VOCABULARY] += kernel.duration / 1e6
    return seconds


def kernel_group(name: str) -> str:
    """The group of a kernel."""
    groups = (group for group, pattern in KERNELS if pattern.search(name))
    return next(groups, ELEMENTS)


def group_of(name: str, input_shapes: list[Any], vocab_size: int) -> str:
    """The group of an operator with inputs of these shapes."""
    sizes = {size for shape in input_shapes if isinstance(shape, list) for size in shape}
    if vocab_size in sizes and not any(word in name for word in LOOKUP_WORDS):
        return VOCABULARY
    if any(word in name for word in SOFTMAX_WORDS):
        return VOCABULARY
    if any(word in name for word in ATTENTION_WORDS):
        return ATTENTION
    if any(word in name for word in MATRIX_WORDS):
        return MATRIX
    return ELEMENTS
