"""The keys of finetune.*: what is trained on, how, and when it is saved.

A part of the schema in schema.py.
"""

from dataclasses import dataclass, field
from typing import Any

from nuggets_ray.config.limits import choice, number, share


@dataclass(frozen=True)
class FinetuneConfig:
    """What is trained on, how, and when it is saved."""

    method: str = choice("full", "lora")
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
    epochs: float = number(3.0, at_least=0.001)
    """Passes over the rows."""
    min_steps: int = number(1, at_least=1)
    """At least this many optimizer steps: a small golden set gets further epochs."""
    max_steps: int | None = number(None, at_least=1)
    """At most this many optimizer steps; null: as many as epochs take."""
    batch_rows: int = number(32, at_least=1)
    """Rows an optimizer step, over all workers; all rows where there are fewer."""
    micro_batch_tokens: int | None = number(None, at_least=1)
    """Most tokens, padding included, that a worker takes through the model at once; null: 2,048 on
    a CPU, 16,384 on a GPU, fewer where they would not fit.
    """
    max_row_tokens: int | None = number(None, at_least=2)
    """The longest row, in tokens; null: the model's context."""
    on_too_long: str = choice("error", "skip", "truncate")
    """A row over the limit: error, skip, or truncate (both counted)."""
    learning_rate: float = number(2e-5, at_least=0)
    """The highest learning rate."""
    lr_schedule: str = choice("cosine", "linear", "constant")
    """cosine, linear (both down to 0) or constant, after the warm-up."""
    warmup_fraction: float = share(0.03, at_least=0)
    """Share of the steps in which the learning rate rises from 0."""
    weight_decay: float = number(0.0, at_least=0)
    """AdamW's decay, on weight matrices only."""
    adam_beta1: float = number(0.9, at_least=0, at_most=0.999999)
    """AdamW's memory of the gradient, in [0, 1)."""
    adam_beta2: float = number(0.999, at_least=0, at_most=0.999999)
    """AdamW's memory of the gradient's square, in [0, 1)."""
    adam_eps: float = number(1e-8, at_least=1e-20)
    """AdamW's epsilon, added to the root of the gradient's mean square."""
    clip_norm: float = number(1.0, at_least=0)
    """Largest norm of the gradient; 0: no clipping."""
    dtype: str = choice("auto", "bfloat16", "float32")
    """bfloat16 (with float32 master weights), float32, or auto: bfloat16 where the hardware has
    it.
    """
    communication_data_type: str = choice("float32", "bfloat16")
    """What gradients are added up in between workers: float32, or bfloat16, which is half the
    traffic and rounds each sum.
    """
    gradient_checkpointing: bool | None = None
    """Compute activations again in the backward pass: less memory, a third more work; null: where
    they would not fit otherwise.
    """
    deepspeed: dict[str, Any] = field(default_factory=dict)
    """DeepSpeed's settings under its own key names, over our defaults, e.g. {zero_optimization:
    {stage: 3}}.
    """
    lora_rank: int = number(16, at_least=1)
    """method=lora: rank of the update."""
    lora_alpha: int = number(32, at_least=1)
    """method=lora: the update is scaled by lora_alpha / lora_rank."""
    lora_dropout: float = number(0.0, at_least=0, at_most=0.99)
    """method=lora: dropout in front of the update, in [0, 1)."""
    lora_target_modules: list[str] = field(default_factory=list)
    """method=lora: names of the modules that are adapted; []: every linear layer but the head."""
    lora_merge: bool = False
    """method=lora: export whole weights with the update added, instead of the adapter."""
    checkpoint_steps: int | None = number(None, at_least=1)
    """Optimizer steps between checkpoints; null: by minutes alone. There is always one at the
    end.
    """
    checkpoint_minutes: float | None = number(15.0, at_least=0.001)
    """Minutes between checkpoints; null: by steps alone."""
    eval_steps: int | None = number(None, at_least=1)
    """Optimizer steps between losses on the held-out rows, checkpoint or not; null: at checkpoints
    alone.
    """
    export: str = choice("last", "best")
    """Which checkpoint becomes models/<name>: last, or best (lowest loss on the held-out rows)."""
    max_failures: int = number(3, at_least=0)
    """How often a lost worker is replaced before the run fails."""
