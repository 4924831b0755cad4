"""What of a model decides the memory of its training, read without its weights: the parameters,
those that are trained, what finetune=lora reaches, and what its layers keep for the backward pass.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.finetune.activations import kept_bytes_a_token
from nuggets_ray.finetune.deepspeed_config import weights_dtype
from nuggets_ray.finetune.engine import lora_config, stored_in
from nuggets_ray.model.body import text_parts
from nuggets_ray.model.load import load_config
from nuggets_ray.model.size import empty_model


@dataclass(frozen=True, slots=True)
class TrainedSize:
    """What of a model decides its memory. `num_trained`: the parameters that get a gradient.

    `kept_bytes`: what all layers keep of a token for the backward pass; None where that could not
    be counted. `can_recompute`: whether the model takes gradient checkpointing. `base_dtype`: what
    the base model's weights are stored in.
    """

    num_parameters: int
    num_trained: int
    hidden_size: int
    num_layers: int
    kept_bytes: float | None = None
    can_recompute: bool = True
    base_dtype: str = "bfloat16"
    lora: "LoraReach | None" = None


@dataclass(frozen=True, slots=True)
class LoraReach:
    """What finetune=lora adapts and what it cannot: the names of the adapted modules, and {name of
    a weight in the layers that has no update: its share of the model's parameters}.
    """

    modules: tuple[str, ...]
    unreached: Mapping[str, float]


def lora_reach(adapted: Any, num_parameters: int) -> LoraReach:
    """The reach of a peft model. Embeddings, the output head and what no text passes are left out
    by intent; norms and biases are no matrices.
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
    text = {id(weight) for part in text_parts(base) for weight in part.parameters()}
    left_alone |= {id(weight) for weight in base.parameters()} - text
    unreached: dict[str, float] = {}
    for name, weight in adapted.named_parameters():
        owner, _, leaf = name.replace(".base_layer", "").rpartition(".")
        is_matrix = weight.dim() >= 2 and "bias" not in leaf and id(weight) not in left_alone
        if is_matrix and ".lora_" not in name and owner not in modules:
            short = ".".join(name.split(".")[-2:])
            unreached[short] = unreached.get(short, 0.0) + weight.numel() / num_parameters
    return LoraReach(tuple(sorted({name.rpartition(".")[2] for name in modules})), unreached)


def trained_size(model: ModelConfig, config: FinetuneConfig, dtype: str) -> TrainedSize:
    """The model's parameters, counted without its weights, and what its layers keep in `dtype`."""
    model_config = load_config(model)
    text_config = model_config.get_text_config()
    empty: Any = empty_model(model)
    num_parameters = sum(weight.numel() for weight in empty.parameters())
    text = {id(w): w.numel() for part in text_parts(empty) for w in part.parameters()}
    num_trained = sum(text.values())
    reach = None
    if config.method == "lora":
        from peft import get_peft_model

        adapted = get_peft_model(empty, lora_config(config, model_config))
        num_trained = sum(w.numel() for w in adapted.parameters() if w.requires_grad)
        reach = lora_reach(adapted, num_parameters)
    return TrainedSize(
        num_parameters=num_parameters,
        num_trained=num_trained,
        hidden_size=text_config.hidden_size,
        num_layers=text_config.num_hidden_layers,
        kept_bytes=kept_bytes_a_token(empty, weights_dtype(config, dtype)),
        can_recompute=empty.supports_gradient_checkpointing,
        base_dtype=stored_in(model),
        lora=reach,
    )
