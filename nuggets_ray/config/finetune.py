"""The keys of finetune.*: what is trained on, how, and when it is saved.

A part of the schema in config.py, which checks the choices and ranges named here. Imports nothing
of the package.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class FinetuneConfig:
    method: str = "full"
    """full (all weights) or lora."""
    selection: str | None = None
    """Train on selections/<selection>/ of the run; null: on the rows of data.path."""
    allow_partial: bool = False
    """Train on a selection that was made while scoring was partial, though more is scored now."""
    selections: list[str] = field(default_factory=list)
    """jobs/pipeline.py goes on to train on each of these selections, e.g. [golden, random-0];
    full: on every row.
    """
    name: str | None = None
    """Folder under models/; null: the selection's name, or the name of the data file."""
    epochs: float = 3.0
    """Passes over the rows."""
    min_steps: int = 1
    """At least this many optimizer steps: a small golden set gets further epochs."""
    max_steps: int | None = None
    """At most this many optimizer steps; null: as many as epochs take."""
    batch_rows: int = 32
    """Rows an optimizer step, over all workers; all rows where there are fewer."""
    micro_batch_tokens: int | None = None
    """Most tokens, padding included, that a worker takes through the model at once; null: 2,048 on
    a CPU, 16,384 on a GPU.
    """
    max_row_tokens: int | None = None
    """The longest row, in tokens; null: the model's context."""
    on_too_long: str = "error"
    """A row over the limit: error, skip, or truncate (both counted)."""
    learning_rate: float = 2e-5
    """The highest learning rate."""
    lr_schedule: str = "cosine"
    """cosine, linear (both down to 0) or constant, after the warm-up."""
    warmup_fraction: float = 0.03
    """Share of the steps in which the learning rate rises from 0."""
    weight_decay: float = 0.0
    """AdamW's decay, on weight matrices only."""
    clip_norm: float = 1.0
    """Largest norm of the gradient; 0: no clipping."""
    dtype: str = "auto"
    """bfloat16 (with float32 master weights), float32, or auto: bfloat16 where the hardware has
    it.
    """
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, a third more work."""
    deepspeed: dict[str, Any] = field(default_factory=dict)
    """DeepSpeed's settings under its own key names, over our defaults, e.g. {zero_optimization:
    {stage: 3}}.
    """
    lora_rank: int = 16
    """method=lora: rank of the update."""
    lora_alpha: int = 32
    """method=lora: the update is scaled by lora_alpha / lora_rank."""
    lora_dropout: float = 0.0
    """method=lora: dropout in front of the update, in [0, 1)."""
    lora_target_modules: list[str] = field(default_factory=list)
    """method=lora: names of the modules that are adapted; []: every linear layer but the head."""
    lora_merge: bool = False
    """method=lora: export whole weights with the update added, instead of the adapter."""
    checkpoint_steps: int | None = None
    """Optimizer steps between checkpoints; null: by minutes alone. There is always one at the
    end.
    """
    checkpoint_minutes: float | None = 15.0
    """Minutes between checkpoints; null: by steps alone."""
    export: str = "last"
    """Which checkpoint becomes models/<name>: last, or best (lowest loss on the held-out rows)."""
    max_failures: int = 3
    """How often a lost worker is replaced before the run fails."""


def finetune_choices(config: FinetuneConfig) -> dict[str, tuple[str, tuple[str, ...]]]:
    """{key: (value, allowed values)}"""
    return {
        "finetune.method": (config.method, ("full", "lora")),
        "finetune.on_too_long": (config.on_too_long, ("error", "skip", "truncate")),
        "finetune.lr_schedule": (config.lr_schedule, ("cosine", "linear", "constant")),
        "finetune.dtype": (config.dtype, ("auto", "bfloat16", "float32")),
        "finetune.export": (config.export, ("last", "best")),
    }


def finetune_lowest(config: FinetuneConfig) -> dict[str, tuple[float | None, float]]:
    """{key: (value, lowest allowed value)}"""
    return {
        "finetune.epochs": (config.epochs, 0.001),
        "finetune.min_steps": (config.min_steps, 1),
        "finetune.max_steps": (config.max_steps, 1),
        "finetune.batch_rows": (config.batch_rows, 1),
        "finetune.micro_batch_tokens": (config.micro_batch_tokens, 1),
        "finetune.max_row_tokens": (config.max_row_tokens, 2),
        "finetune.learning_rate": (config.learning_rate, 0),
        "finetune.warmup_fraction": (config.warmup_fraction, 0),
        "finetune.weight_decay": (config.weight_decay, 0),
        "finetune.clip_norm": (config.clip_norm, 0),
        "finetune.lora_rank": (config.lora_rank, 1),
        "finetune.lora_alpha": (config.lora_alpha, 1),
        "finetune.lora_dropout": (config.lora_dropout, 0),
        "finetune.checkpoint_steps": (config.checkpoint_steps, 1),
        "finetune.checkpoint_minutes": (config.checkpoint_minutes, 0.001),
        "finetune.max_failures": (config.max_failures, 0),
    }
