"""How many parameters a model has, read from its configuration: no weights are loaded.

Torch and transformers are imported where they are used.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.model.architecture import auto_class
from nuggets_ray.model.load import LOAD_ERRORS, load_config
from nuggets_ray.model.weights.load_errors import cannot_load

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True, slots=True)
class ModelSize:
    """Parameters, tied ones once; `num_embedding_parameters` of them are token embeddings and the
    vocabulary projection, whose matrix has `num_head_weights`."""

    num_parameters: int
    num_embedding_parameters: int
    num_head_weights: int


def model_size(model: ModelConfig) -> ModelSize | None:
    """The size of the model before any quantisation; None where transformers does not know its
    architecture."""
    config = load_config(model, any_architecture=True)
    try:
        made = _on_meta(model, config)
    except LOAD_ERRORS:
        return None
    head = made.get_output_embeddings()
    embeddings = {id(p): p.numel() for p in made.get_input_embeddings().parameters()}
    embeddings |= {id(p): p.numel() for p in head.parameters()}
    num_parameters = sum(p.numel() for p in made.parameters())
    return ModelSize(num_parameters, sum(embeddings.values()), head.weight.numel())


def empty_model(config: ModelConfig) -> "PreTrainedModel":
    """The model without weights: its parameters' names and shapes, on torch's meta device."""
    model_config = load_config(config)
    try:
        return _on_meta(config, model_config)
    except Exception as error:
        raise cannot_load(config, error) from error


def _on_meta(config: ModelConfig, model_config: "PretrainedConfig") -> "PreTrainedModel":
    import torch

    with torch.device("meta"):
        model: PreTrainedModel = auto_class(model_config).from_config(
            model_config, trust_remote_code=config.trust_remote_code
        )
    return model
