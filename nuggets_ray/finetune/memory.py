"""Memory of a fine-tune's workers before it starts, and what to change where it will not fit.

Memory of a worker = weights + gradients + optimizer (exact, from ZeRO's stage and offload) +
activations (counted on the model's shapes, activations.py). The host holds what is offloaded, and
reads the float32 weights of the base as the training starts: mapped from safetensors, so that the
workers of a node share them and their memory is given back under pressure; from other files, and
where transformers fuses weights, each worker holds them.
"""

from dataclasses import dataclass

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.deepspeed_config import (
    offload_device,
    refines_master_weights,
    weights_dtype,
    zero_stage,
)
from nuggets_ray.finetune.size import TrainedSize

GIB = 2**30
PROCESS_GIB = 0.6
"""Python, torch and DeepSpeed without a model."""
LOGITS_GIB = 0.75
"""Logits of a chunk, their gradient and log-softmax: see loss.MAX_LOGITS_BYTES."""
ROUGH_NUMBERS = 32
"""Numbers of hidden size that a layer keeps of a token, where it could not be counted."""


@dataclass(frozen=True, slots=True)
class Room:
    """Free GiB for one worker: where it computes, and of its host (the same memory on a CPU)."""

    device: str
    gib: float
    host_gib: float


@dataclass(frozen=True, slots=True)
class TrainMemory:
    """GiB of one worker where it computes: what is exact (`states`) and what is counted
    (`activations`); and of its host: `offloaded` while it trains, `base` as it starts.
    """

    states_gib: float
    activations_gib: float
    offloaded_gib: float
    base_gib: float

    @property
    def total_gib(self) -> float:
        """At the peak of a step, where it computes."""
        return self.states_gib + self.activations_gib


def memory(
    config: FinetuneConfig,
    size: TrainedSize,
    dtype: str,
    device: str,
    num_workers: int,
    max_tokens: int,
) -> TrainMemory:
    """What a worker on this device needs, with micro-batches of `max_tokens` tokens."""
    stage = zero_stage(config)
    number = 2 if weights_dtype(config, dtype) == "bfloat16" else 4
    spread = [num_workers if stage >= lowest else 1 for lowest in (1, 2, 3)]
    optimizer = 12 * size.num_trained / spread[0]  # float32 weights and Adam's two moments
    gradients = 4 * size.num_trained / spread[1]
    weights = number * size.num_parameters / spread[2]
    if stage == 0:
        optimizer -= 4 * size.num_trained  # the weights are the float32 ones
    computing, offloaded = 0.0, 0.0
    for states, target in (
        (optimizer + gradients, offload_device(config, "optimizer")),
        (weights, offload_device(config, "param")),
    ):
        if target is None or (target, device) == ("cpu", "cpu"):  # there it is moved nowhere else
            computing += states
        elif target == "cpu":
            offloaded += states
    is_refined = refines_master_weights(config, dtype, size.base_dtype)
    return TrainMemory(
        states_gib=computing / GIB + PROCESS_GIB,
        activations_gib=_activations(config, size, number, max_tokens) / GIB + LOGITS_GIB,
        offloaded_gib=offloaded / GIB,
        base_gib=4 * size.num_parameters / GIB if is_refined else 0.0,
    )


def _activations(config: FinetuneConfig, size: TrainedSize, number: int, max_tokens: int) -> float:
    hidden = number * size.hidden_size
    kept = size.kept_bytes or ROUGH_NUMBERS * hidden * size.num_layers
    if config.gradient_checkpointing:  # what goes into each layer, and one layer at a time
        kept = hidden * size.num_layers + kept / size.num_layers
    return kept * max_tokens


def check_memory(config: FinetuneConfig, needed: TrainMemory, room: Room) -> list[str]:
    """Warnings of what may not fit.

    Raises UserError where what is exact does not: weights, gradients and optimizer, where they are
    computed with, or offloaded.
    """
    where = "GPU memory" if room.device == "cuda" else "memory"
    sentence = (
        f"a worker needs about {needed.total_gib:.1f} GiB ({needed.states_gib:.1f} for weights, "
        f"gradients and optimizer), {room.gib:.1f} GiB of {where} are free for it"
    )
    if needed.states_gib > room.gib:
        raise UserError(f"finetune={config.method}: {sentence}: {hint(config, room.device)}")
    free = f"{room.host_gib:.1f} GiB of the host's memory are free for it"
    if needed.offloaded_gib > room.host_gib:
        raise UserError(
            f"finetune.deepspeed.zero_optimization: {needed.offloaded_gib:.1f} GiB of a worker are "
            f"offloaded, {free}: offload less, or take fewer workers a node, or finetune=lora"
        )
    warnings = []
    if needed.total_gib > room.gib:
        way_out = hint(config, room.device, rows_are_the_trouble=True)
        warnings.append(f"{sentence}: if memory runs out, {way_out}")
    beside = needed.states_gib if room.device == "cpu" else needed.offloaded_gib
    if needed.base_gib and beside + needed.base_gib > room.host_gib:
        warnings.append(
            f"a worker reads {needed.base_gib:.1f} GiB of float32 weights of the base model as it "
            f"starts, beside {beside:.1f} GiB that it holds, {free}: if it starts slowly, or "
            "memory runs out, store the base model in bfloat16, or take fewer workers a node"
        )
    return warnings


def hint(config: FinetuneConfig, device: str, rows_are_the_trouble: bool = False) -> str:
    """What to set so that a worker on this device needs less, the cheapest first."""
    ways = []
    if rows_are_the_trouble:
        ways.append("lower finetune.micro_batch_tokens")
        if not config.gradient_checkpointing:
            ways.append("set finetune.gradient_checkpointing=true")
    if zero_stage(config) < 3:
        ways.append("set finetune.deepspeed.zero_optimization.stage=3 over more workers")
    if device == "cuda" and not offload_device(config, "optimizer"):
        ways.append("set finetune.deepspeed.zero_optimization.offload_optimizer.device=cpu")
    if config.method != "lora":
        ways.append("take finetune=lora")
    return ", or ".join(ways) or "take more workers, or a smaller model"
