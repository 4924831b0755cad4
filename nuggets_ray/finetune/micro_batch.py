"""How large a worker's micro-batches are, and whether activations are computed again: as the keys
say, else whatever of it fits, the fastest first.

Computing again costs a third more work. Micro-batches down to a quarter of the default are taken to
cost less than that, and smaller ones, which leave a GPU idle between its kernels, more: this is
assumed, not measured on a GPU.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.memory import Room, TrainMemory, memory
from nuggets_ray.finetune.size import TrainedSize
from nuggets_ray.finetune.steps import Work

DECIDED = "decided"
"""In a checkpoint's settings: what the run has decided."""
DEFAULT_TOKENS = {"cpu": 2048, "cuda": 16_384}
NUM_LARGE = 3
"""The default, a half and a quarter of it."""
NUM_SIZES = 6
MEANT_SHARE = {"cpu": 1.0, "cuda": 0.9}
"""Of what is free: buffers between workers and fragments take some of a GPU's memory."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The keys of finetune.* with both decided, the steps' work in such micro-batches, and what
    they need. `why`: a sentence where it is not what would be taken without regard to memory.
    """

    config: FinetuneConfig
    work: Work
    needed: TrainMemory
    why: str | None


def choose(
    config: FinetuneConfig,
    size: TrainedSize,
    dtype: str,
    num_workers: int,
    room: Room,
    work_of: Callable[[int], Work],
) -> Choice:
    """The first of `ways` that fits; where none does, the one that needs least. `work_of` measures
    the steps in micro-batches of so many tokens.
    """
    share = MEANT_SHARE[room.device]
    tried: list[Choice] = []
    for way in ways(config, room.device, size.can_recompute):
        work = work_of(way.micro_batch_tokens or 0)
        needed = memory(way, size, dtype, room.device, num_workers, work.max_padded_tokens)
        tried.append(Choice(way, work, needed, None))
        if needed.total_gib <= share * room.gib:
            break
    first, chosen = tried[0], min(tried, key=lambda one: one.needed.total_gib)
    if chosen.config == first.config:
        return first
    return replace(chosen, why=_why(first, chosen, room, share))


def ways(config: FinetuneConfig, device: str, can_recompute: bool) -> Iterator[FinetuneConfig]:
    """The settings to try, the fastest first; a key that is given stays as it is. Raises UserError
    where one cannot be.
    """
    given = config.micro_batch_tokens
    sizes = [given] if given else [DEFAULT_TOKENS[device] >> halved for halved in range(NUM_SIZES)]
    again = config.gradient_checkpointing
    if again and not can_recompute:
        raise UserError(
            "finetune.gradient_checkpointing=true: this architecture has none in transformers: "
            "leave it out, and lower finetune.micro_batch_tokens where memory is short"
        )
    if again is not None or not can_recompute:
        plans = [(bool(again), sizes)]
    else:
        plans = [(False, sizes[:NUM_LARGE]), (True, sizes)]
    for is_again, tokens in plans:
        for count in tokens:
            yield replace(config, micro_batch_tokens=count, gradient_checkpointing=is_again)


def as_begun(config: FinetuneConfig, settings: Mapping[str, Any]) -> FinetuneConfig:
    """The keys with what a checkpoint's run has decided for those that are not given: the same
    micro-batches give the very same weights.
    """
    decided = settings.get(DECIDED) or {}
    open_keys = {key for key in decided if getattr(config, key) is None}
    return replace(config, **{key: decided[key] for key in open_keys})


def decided(config: FinetuneConfig) -> dict[str, Any]:
    """What a run has decided, for the settings in its checkpoints: it changes no result, so it is
    not held against another start.
    """
    keys = ("micro_batch_tokens", "gradient_checkpointing")
    return {DECIDED: {key: getattr(config, key) for key in keys}}


def _why(first: Choice, chosen: Choice, room: Room, share: float) -> str:
    tokens = chosen.config.micro_batch_tokens
    what = [f"{tokens:,} tokens a micro-batch (finetune.micro_batch_tokens)"]
    if chosen.config.gradient_checkpointing:
        what.append("activations computed again (finetune.gradient_checkpointing)")
    return (
        f"{' and '.join(what)}: {first.config.micro_batch_tokens:,} tokens without computing again "
        f"would need about {first.needed.total_gib:.1f} GiB a worker, and {share:.0%} of "
        f"{room.gib:.1f} GiB are meant for it"
    )
