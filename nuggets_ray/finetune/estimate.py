"""Memory and time of a fine-tune before it starts, and what to change where it will not fit.

Memory of a worker = weights + gradients + optimizer (exact, from ZeRO's stage and offload) +
activations (a rough count: 17 numbers of hidden size a token and layer, 1 where they are computed
again). Time = FLOPs / measured matrix-multiply rate / ASSUMED_SHARE.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.deepspeed_config import offload_device, weights_dtype, zero_stage
from nuggets_ray.finetune.engine import lora_config
from nuggets_ray.model.load import load_config
from nuggets_ray.model.size import empty_model

GIB = 2**30
PROCESS_GIB = 0.6
"""Python, torch and DeepSpeed without a model."""
LOGITS_GIB = 0.75
"""Logits of a chunk, their gradient and log-softmax: see loss.MAX_LOGITS_BYTES."""
ASSUMED_SHARE = 0.4
"""Share of the matrix-multiply rate that training reaches, before the run itself has shown it."""


@dataclass(frozen=True, slots=True)
class TrainedSize:
    """What of a model decides its cost. `num_trained`: the parameters that get a gradient."""

    num_parameters: int
    num_trained: int
    hidden_size: int
    num_layers: int
    lora: "LoraReach | None" = None


@dataclass(frozen=True, slots=True)
class LoraReach:
    """What finetune=lora adapts and what it cannot: the names of the adapted modules, and {name of
    a weight in the layers that has no update: its share of the model's parameters}.
    """

    modules: tuple[str, ...]
    unreached: Mapping[str, float]


def lora_reach(adapted: Any, num_parameters: int) -> LoraReach:
    """The reach of a peft model. Embeddings and the output head are left out by intent; norms and
    biases are no matrices.
    """
    names = [name for name, _ in adapted.named_parameters()]
    modules = {
        name.rpartition(".lora_A.")[0].replace(".base_layer", "")
        for name in names
        if ".lora_A." in name
    }
    base = adapted.get_base_model()
    apart = [base.get_input_embeddings(), base.get_output_embeddings()]
    left_alone = {id(weight) for part in apart if part is not None for weight in part.parameters()}
    unreached: dict[str, float] = {}
    for name, weight in adapted.named_parameters():
        owner, _, leaf = name.replace(".base_layer", "").rpartition(".")
        is_matrix = weight.dim() >= 2 and "bias" not in leaf and id(weight) not in left_alone
        if is_matrix and ".lora_" not in name and owner not in modules:
            short = ".".join(name.split(".")[-2:])
            unreached[short] = unreached.get(short, 0.0) + weight.numel() / num_parameters
    return LoraReach(tuple(sorted({name.rpartition(".")[2] for name in modules})), unreached)


def trained_size(model: ModelConfig, config: FinetuneConfig) -> TrainedSize:
    """The model's parameters, counted without its weights."""
    text_config = load_config(model).get_text_config()
    empty: Any = empty_model(model)
    num_parameters = sum(weight.numel() for weight in empty.parameters())
    num_trained, reach = num_parameters, None
    if config.method == "lora":
        from peft import get_peft_model

        adapted = get_peft_model(empty, lora_config(config))
        num_trained = sum(w.numel() for w in adapted.parameters() if w.requires_grad)
        reach = lora_reach(adapted, num_parameters)
    shape = (text_config.hidden_size, text_config.num_hidden_layers)
    return TrainedSize(num_parameters, num_trained, *shape, reach)


@dataclass(frozen=True, slots=True)
class TrainMemory:
    """GiB of one worker: what is exact (`states`), what is rough (`activations`), and where.

    `host_gib` is what offloading puts into the memory of the host instead.
    """

    states_gib: float
    activations_gib: float
    host_gib: float

    @property
    def total_gib(self) -> float:
        return self.states_gib + self.activations_gib


def memory(
    config: FinetuneConfig, size: TrainedSize, dtype: str, num_workers: int, max_tokens: int
) -> TrainMemory:
    """What a worker needs at its peak, with micro-batches of `max_tokens` tokens."""
    stage = zero_stage(config)
    number = 2 if weights_dtype(config, dtype) == "bfloat16" else 4
    spread = [num_workers if stage >= lowest else 1 for lowest in (1, 2, 3)]
    optimizer = 12 * size.num_trained / spread[0]  # float32 weights and Adam's two moments
    gradients = 4 * size.num_trained / spread[1]
    weights = number * size.num_parameters / spread[2]
    if stage == 0:
        optimizer -= 4 * size.num_trained  # the weights are the float32 ones
    host = 0.0
    if offload_device(config, "optimizer"):
        host, optimizer, gradients = optimizer + gradients, 0.0, 0.0
    if offload_device(config, "param"):
        host, weights = host + weights, 0.0
    kept = 1 if config.gradient_checkpointing else 17
    compute = 2 if dtype == "bfloat16" else 4
    activations = compute * kept * max_tokens * size.hidden_size * size.num_layers
    if config.gradient_checkpointing:
        activations += compute * 17 * max_tokens * size.hidden_size
    return TrainMemory(
        (optimizer + gradients + weights) / GIB + PROCESS_GIB,
        activations / GIB + LOGITS_GIB,
        host / GIB,
    )


def check_memory(
    config: FinetuneConfig, needed: TrainMemory, available_gib: float, where: str
) -> str | None:
    """A warning where it may not fit, None where it fits.

    Raises UserError where weights, gradients and optimizer alone do not.
    """
    sentence = (
        f"a worker needs about {needed.total_gib:.1f} GiB ({needed.states_gib:.1f} for weights, "
        f"gradients and optimizer), {available_gib:.1f} GiB of {where} are free for it"
    )
    if needed.states_gib > available_gib:
        raise UserError(f"finetune={config.method}: {sentence}: {hint(config)}")
    if needed.total_gib > available_gib:
        return f"{sentence}: if memory runs out, {hint(config, rows_are_the_trouble=True)}"
    return None


def hint(config: FinetuneConfig, rows_are_the_trouble: bool = False) -> str:
    """What to set so that a worker needs less, the cheapest first."""
    ways = []
    if rows_are_the_trouble:
        ways.append("lower finetune.micro_batch_tokens")
        if not config.gradient_checkpointing:
            ways.append("set finetune.gradient_checkpointing=true")
    if zero_stage(config) < 3:
        ways.append("set finetune.deepspeed.zero_optimization.stage=3 over more workers")
    if not offload_device(config, "optimizer"):
        ways.append("set finetune.deepspeed.zero_optimization.offload_optimizer.device=cpu")
    if config.method != "lora":
        ways.append("take finetune=lora")
    return ", or ".join(ways) or "take more workers, or a smaller model"


def flops(config: FinetuneConfig, size: TrainedSize, num_padded_tokens: int) -> float:
    """Floating-point operations of the training: 2 a parameter and token for each of forward,
    backward to the inputs, backward to the trained weights, and forward again if recomputed.
    """
    passes = 2 * size.num_parameters * (2 + config.gradient_checkpointing) + 2 * size.num_trained
    return float(passes * num_padded_tokens)


def seconds(num_flops: float, flops_per_s: float, num_workers: int) -> float:
    """How long `num_flops` take on workers of this matrix-multiply rate each."""
    return num_flops / (flops_per_s * num_workers * ASSUMED_SHARE)
