"""Which rows make up each optimizer step, how they are split over workers, and the learning rate.

A step is a pure function of (seed, step): nothing is drawn as training goes, so a run that is
resumed at step s sees the rows that an undisturbed one sees. Rows follow each other in a new
permutation each epoch, and a step may span two. Within a step rows of like length share a
micro-batch, padded to its longest.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.errors import UserError

MicroBatches = list[list[np.ndarray]]
"""[accumulation slot][worker] -> indices into the step's rows; empty: the worker has nothing."""

MEASURED_STEPS = 1000


@dataclass(frozen=True, slots=True)
class Schedule:
    """The steps of a run: `batch_rows` rows each, over all workers."""

    num_rows: int
    batch_rows: int
    num_steps: int
    seed: int

    @property
    def epochs(self) -> float:
        """Passes over the rows."""
        return self.num_steps * self.batch_rows / self.num_rows

    def rows(self, step: int) -> np.ndarray:
        """Indices (B,) of the rows of optimizer step `step`, counted from 0."""
        places = np.arange(step * self.batch_rows, (step + 1) * self.batch_rows)
        epochs = places // self.num_rows
        return np.concatenate(
            [
                _permutation(self.seed, int(epoch), self.num_rows)[
                    places[epochs == epoch] % self.num_rows
                ]
                for epoch in np.unique(epochs)
            ]
        )


def make_schedule(config: FinetuneConfig, num_rows: int, num_workers: int, seed: int) -> Schedule:
    """The steps for `num_rows` rows; a step takes all of them where there are fewer than a batch.

    Raises UserError where a step has fewer rows than there are workers.
    """
    batch_rows = min(config.batch_rows, num_rows)
    if batch_rows < num_workers:
        cause = (
            f"finetune.batch_rows={batch_rows}"
            if batch_rows == config.batch_rows
            else f"there are {num_rows} rows to train on"
        )
        raise UserError(
            f"cluster.num_workers={num_workers}: {cause}, so some workers would have none in a "
            f"step: set cluster.num_workers={max(batch_rows, 1)} or less, or give more rows"
        )
    # the fraction guards 3 x 0.1 epochs and the like against the last bit of a float
    num_steps = math.ceil(config.epochs * num_rows / batch_rows - 1e-9)
    num_steps = max(1, num_steps, config.min_steps)
    if config.max_steps is not None:
        num_steps = min(num_steps, config.max_steps)
    return Schedule(num_rows, batch_rows, num_steps, seed)


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, num_rows: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(num_rows)


def learning_rate(config: FinetuneConfig, step: int, num_steps: int) -> float:
    """The rate of optimizer step `step`, counted from 0: linear warm-up, then the schedule.

    The warm-up of w steps rises by 1 / (w + 1) a step from the first on: a step at rate 0, as in
    transformers, would be a quarter of a run of 4.
    """
    warmup_steps = math.ceil(config.warmup_fraction * num_steps)
    if step < warmup_steps:
        return config.learning_rate * (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    return config.learning_rate * SHAPES[config.lr_schedule](progress)


SHAPES: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
    "linear": lambda progress: 1 - progress,
    "constant": lambda progress: 1.0,
}


def micro_batches(length_B: np.ndarray, num_workers: int, max_tokens: int) -> MicroBatches:
    """Split a step's rows so that every worker gets as many micro-batches, alike in cost.

    Rows sorted by length are cut into runs whose padded tokens stay within `max_tokens` (a longer
    row goes alone) and, for the number of slots that takes, are as equal as can be.
    """
    order = np.argsort(-length_B, kind="stable")
    lengths = length_B[order].tolist()
    num_slots = -(-len(_cut(lengths, max_tokens)) // num_workers)
    num_parts = num_slots * num_workers
    low, high = min(max_tokens, max(lengths[0], -(-sum(lengths) // num_parts))), max_tokens
    while low < high:
        middle = (low + high) // 2
        if len(_cut(lengths, middle)) <= num_parts:
            high = middle
        else:
            low = middle + 1
    parts = _split_longest(_cut(lengths, low), num_parts, lengths)
    parts += [(0, 0)] * (num_parts - len(parts))
    return [
        [order[start:stop] for start, stop in parts[slot : slot + num_workers]]
        for slot in range(0, num_parts, num_workers)
    ]


def _cut(lengths: list[int], max_tokens: int) -> list[tuple[int, int]]:
    """Runs (start, stop) of descending lengths, each as long as its padded tokens allow."""
    parts, start = [], 0
    for row in range(1, len(lengths)):
        if (row - start + 1) * lengths[start] > max_tokens:
            parts.append((start, row))
            start = row
    parts.append((start, len(lengths)))
    return parts


def _split_longest(
    parts: list[tuple[int, int]], num_parts: int, lengths: list[int]
) -> list[tuple[int, int]]:
    """Halve the costliest runs of several rows until there are `num_parts`, where rows suffice."""
    parts = list(parts)
    while len(parts) < num_parts:
        costs = [(b - a) * lengths[a] if b - a > 1 else 0 for a, b in parts]
        index = int(np.argmax(costs))
        if costs[index] == 0:
            break
        start, stop = parts[index]
        middle = (start + stop) // 2
        parts[index : index + 1] = [(start, middle), (middle, stop)]
    return parts


def padded_tokens(length_B: np.ndarray, batches: MicroBatches) -> list[int]:
    """Tokens of each micro-batch as they go through the model, padding included."""
    sizes = (length_B[part] for slot in batches for part in slot if len(part))
    return [int(len(lengths) * lengths.max()) for lengths in sizes]


@dataclass(frozen=True, slots=True)
class Work:
    """What the steps amount to: tokens of the rows, of those answers, with padding; those of the
    largest micro-batch with padding; the most micro-batches that a worker takes in one step.
    """

    num_tokens: int
    num_answer_tokens: int
    num_padded_tokens: int
    max_padded_tokens: int
    num_slots: int


def measure(
    schedule: Schedule,
    length_N: np.ndarray,
    num_answer_tokens_N: np.ndarray,
    num_workers: int,
    max_tokens: int,
) -> Work:
    """The work of all steps, taken from the first MEASURED_STEPS of a longer run."""
    num_measured = min(schedule.num_steps, MEASURED_STEPS)
    tokens = answers = padded = largest = slots = 0
    for step in range(num_measured):
        rows = schedule.rows(step)
        batches = micro_batches(length_N[rows], num_workers, max_tokens)
        tokens += int(length_N[rows].sum())
        answers += int(num_answer_tokens_N[rows].sum())
        sizes = padded_tokens(length_N[rows], batches)
        padded, largest = padded + sum(sizes), max(largest, *sizes)
        slots = max(slots, len(batches))
    share = schedule.num_steps / num_measured
    return Work(
        round(tokens * share), round(answers * share), round(padded * share), largest, slots
    )
