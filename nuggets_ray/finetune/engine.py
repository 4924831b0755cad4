"""One worker's part of training: the DeepSpeed engine, a step, the eval loss, save and load.

Every worker of a process group that exists already calls these together. A step's gradient is that
of the mean over all its answer tokens, whatever the number of workers and micro-batches: each
micro-batch's summed loss is divided by the step's answer tokens, and times the number of workers,
because DeepSpeed averages over them. Deepspeed and peft are imported inside.
"""

import hashlib
import logging
import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.finetune import universal
from nuggets_ray.finetune.deepspeed_config import (
    deepspeed_settings,
    offload_device,
    refines_master_weights,
    weights_dtype,
    zero_stage,
)
from nuggets_ray.finetune.deepspeed_kernels import build_one_at_a_time
from nuggets_ray.finetune.loss import collate, give_loss
from nuggets_ray.finetune.plain_load import plain_load
from nuggets_ray.finetune.rows import TrainRows
from nuggets_ray.finetune.steps import Schedule, learning_rate, micro_batches
from nuggets_ray.model.architecture import sees_more_than_text
from nuggets_ray.model.body import text_parts
from nuggets_ray.model.load import load_config, load_model
from nuggets_ray.model.weights.check import TOWERS
from nuggets_ray.model.weights.headers import check_weights

logger = logging.getLogger(__name__)

TAG = "deepspeed"
"""Folder of DeepSpeed's own files within a checkpoint."""


@dataclass(frozen=True, slots=True)
class TrainSetup:
    """What a worker needs beside the rows. `num_slots`: the most micro-batches of a step."""

    model: ModelConfig
    finetune: FinetuneConfig
    schedule: Schedule
    dtype: str
    device: str
    max_tokens: int
    num_slots: int


@dataclass(frozen=True, slots=True)
class StepResult:
    """One optimizer step: mean loss in nats per answer token over all workers, norm of its gradient
    before clipping. Where one of them is not finite (`is_finite`), the step must not be kept.
    """

    loss: float
    grad_norm: float
    learning_rate: float
    num_tokens: int
    num_answer_tokens: int

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


def make_engine(setup: TrainSetup, saved_by: int | None = None) -> Any:
    """The model under DeepSpeed, ready for `train_step`, or for `load` of a checkpoint that
    `saved_by` workers have written (None: there is none).
    """
    os.environ.setdefault("DS_ACCELERATOR", setup.device)
    build_one_at_a_time(logger.info)
    import deepspeed

    config = setup.finetune
    settings = deepspeed_settings(config, setup.dtype, setup.num_slots)
    if universal.needs_conversion(config, saved_by, dist.get_world_size()):
        settings |= universal.READS
    deepspeed.init_distributed(dist_backend=dist.get_backend())
    model = trainable_model(setup, settings)
    engine, *_ = deepspeed.initialize(
        model=model, optimizer=_optimizer(model, setup), config=settings, dist_init_required=False
    )
    _refine_master_weights(engine, setup)
    return engine


def _refine_master_weights(engine: Any, setup: TrainSetup) -> None:
    """Give a base model that is stored in float32 its own master weights under bf16.

    DeepSpeed makes them from the rounded weights, each in the middle of its rounding interval, so
    that steps smaller than half of one change nothing at first: after 4 steps of 2e-5 the demo
    model's loss was 0.07 above that of a training on the float32 weights.
    """
    if not refines_master_weights(setup.finetune, setup.dtype, stored_in(setup.model)):
        return
    exact = dict(load_model(setup.model, "float32", "cpu").named_parameters())
    for name, weight in engine.module.named_parameters():
        _set_master_weight(weight, exact[name].detach().to(engine.device))


def _set_master_weight(weight: Any, exact: torch.Tensor) -> None:
    """Give one weight, or under ZeRO 3 this worker's part of it, its float32 value."""
    from deepspeed.utils import safe_set_full_fp32_param, safe_set_local_fp32_param

    if not hasattr(weight, "ds_tensor"):
        safe_set_full_fp32_param(weight, exact)
        return
    # parts are of one size, the last padded, which DeepSpeed's own cut of a whole weight forgets
    size = weight.ds_tensor.numel()
    start = min(dist.get_rank() * size, exact.numel())
    part = exact.flatten()[start : start + size]
    part = torch.nn.functional.pad(part, (0, size - part.numel()))
    safe_set_local_fp32_param(weight, part)


def stored_in(model: ModelConfig) -> str:
    """The dtype that the model's weights are stored in, as its configuration says."""
    return str(load_config(model).dtype).rpartition(".")[2]


def trainable_model(setup: TrainSetup, settings: dict[str, Any]) -> Any:
    """The model with LoRA layers if asked, weights to be trained set so, and a loss as its result.

    Under ZeRO 3 the weights are spread over the workers as they are loaded.
    """
    from transformers.integrations.deepspeed import HfDeepSpeedConfig

    config = setup.finetune
    is_spread = zero_stage(config) == 3
    alive = HfDeepSpeedConfig(settings) if is_spread else None  # from_pretrained asks for it
    model = load_model(setup.model, weights_dtype(config, setup.dtype), setup.device)
    for part in text_parts(model):  # the rest is loaded, and stays as it is
        part.requires_grad_(True)
    model.train()
    if config.gradient_checkpointing:
        # under ZeRO 3 the recomputed weights are gathered anew, which the other kind takes amiss
        model.gradient_checkpointing_enable({"use_reentrant": is_spread})
        model.enable_input_require_grads()
    if config.method == "lora":
        model = _with_lora(model, config, setup.schedule.seed)
    del alive
    if is_spread:
        check_weights(setup.model)  # under ZeRO 3 transformers reports neither size nor surplus
    give_loss(model)
    return model


def _with_lora(model: Any, config: FinetuneConfig, seed: int) -> Any:
    """The model with low-rank updates, whose random halves are functions of the seed alone."""
    from peft import get_peft_model

    digest = hashlib.sha256(f"lora:{seed}".encode()).digest()
    with torch.random.fork_rng():
        torch.manual_seed(int.from_bytes(digest[:7], "big"))
        return get_peft_model(model, lora_config(config, model.config)).get_base_model()


def lora_config(config: FinetuneConfig, model_config: Any) -> Any:
    """peft's description of the adapter, which leaves out the parts that no text passes."""
    from peft import LoraConfig

    return LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=config.lora_target_modules or "all-linear",
        exclude_modules=rf".*{TOWERS.pattern}.*" if sees_more_than_text(model_config) else None,
        task_type="CAUSAL_LM",
    )


def _optimizer(model: Any, setup: TrainSetup) -> torch.optim.Optimizer:
    decayed: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for weight in model.parameters():
        if weight.requires_grad:
            shape = getattr(weight, "ds_shape", weight.shape)  # ZeRO 3 leaves an empty tensor
            (decayed if len(shape) >= 2 else others).append(weight)
    config = setup.finetune
    groups = [
        {"params": weights, "weight_decay": decay}
        for weights, decay in ((decayed, config.weight_decay), (others, 0.0))
        if weights
    ]
    if config.weight_decay == 0:
        groups = [{"params": decayed + others, "weight_decay": 0.0}]
    adam: dict[str, Any] = {
        "lr": config.learning_rate,
        "betas": (config.adam_beta1, config.adam_beta2),
        "eps": config.adam_eps,
    }
    if setup.device == "cuda" and offload_device(config, "optimizer") is not None:
        from deepspeed.ops.adam import DeepSpeedCPUAdam

        cpu_adam: torch.optim.Optimizer = DeepSpeedCPUAdam(groups, **adam)
        return cpu_adam
    return torch.optim.AdamW(groups, **adam, fused=True)


def train_step(engine: Any, setup: TrainSetup, rows: TrainRows, step: int) -> StepResult:
    """Optimizer step `step`, counted from 0. Where its loss is not finite, no weight is changed."""
    rank, num_workers = dist.get_rank(), dist.get_world_size()
    indices = setup.schedule.rows(step)
    batches = micro_batches(rows.length_N[indices], num_workers, setup.max_tokens)
    num_answer_tokens = int(rows.num_answer_tokens_N[indices].sum())
    rate = learning_rate(setup.finetune, step, setup.schedule.num_steps)
    for group in engine.optimizer.param_groups:
        group["lr"] = rate
    total = torch.zeros((), dtype=torch.float64, device=engine.device)
    for slot, parts in enumerate(batches):
        engine.set_gradient_accumulation_boundary(slot == len(batches) - 1)
        _seed_dropout(setup.schedule.seed, step, slot, rank)
        loss = engine(collate(rows, indices[parts[rank]]).to(engine.device))
        engine.backward(loss * (num_workers / num_answer_tokens), scale_wrt_gas=False)
        total += loss.detach().double()
    dist.all_reduce(total)
    mean = total.item() / num_answer_tokens
    norm = _update(engine) if math.isfinite(mean) else math.nan
    num_tokens = int(rows.length_N[indices].sum())
    return StepResult(mean, norm, rate, num_tokens, num_answer_tokens)


def _update(engine: Any) -> float:
    """Let the optimizer step; the norm of the gradient before clipping."""
    norm = None
    if not engine.zero_optimization() and not engine.bfloat16_enabled():
        gradients = [p.grad for p in engine.module.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)  # DeepSpeed keeps none here
    engine.step()
    return float(engine.get_global_grad_norm() if norm is None else norm)


def _seed_dropout(seed: int, step: int, slot: int, rank: int) -> None:
    # a function of the place, not of what was drawn before: a resumed run drops the same units
    digest = hashlib.sha256(f"dropout:{seed}:{step}:{slot}:{rank}".encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:7], "big"))


def evaluate(engine: Any, setup: TrainSetup, rows: TrainRows) -> float:
    """Mean loss in nats per answer token over `rows`, the same number on every worker."""
    rank, num_workers = dist.get_rank(), dist.get_world_size()
    batches = micro_batches(rows.length_N, num_workers, setup.max_tokens)
    total = torch.zeros((), dtype=torch.float64, device=engine.device)
    engine.eval()
    with torch.no_grad():
        for parts in batches:
            total += engine(collate(rows, parts[rank]).to(engine.device)).double()
    engine.train()
    dist.all_reduce(total)
    return float(total.item() / rows.num_answer_tokens_N.sum())


def save(engine: Any, setup: TrainSetup, folder: str) -> None:
    """Write this worker's part of a checkpoint; with LoRA without the frozen weights."""
    is_lora = setup.finetune.method == "lora"
    engine.save_checkpoint(folder, tag=TAG, exclude_frozen_parameters=is_lora)


def load(engine: Any, setup: TrainSetup, folder: str) -> None:
    """Read a checkpoint: weights and optimizer state, of as many workers as `make_engine` was told
    have written it.
    """
    if not engine.load_universal_checkpoint():
        _load(engine, setup, folder)
        return
    with universal.converted(folder, TAG) as there, universal.own_groups(engine.optimizer):
        _load(engine, setup, there)


def _load(engine: Any, setup: TrainSetup, folder: str) -> None:
    is_lora = setup.finetune.method == "lora"
    with plain_load():
        path, _ = engine.load_checkpoint(folder, tag=TAG, load_module_strict=not is_lora)
    if path is None:
        raise FileNotFoundError(f"{folder} holds no checkpoint of DeepSpeed")


def no_rows() -> TrainRows:
    """A set of no rows, as where nothing is held out."""
    empty = np.zeros(0, np.int32), np.zeros(0, bool), np.zeros(1, np.int64), np.zeros(0, "S32")
    return TrainRows(*empty)
