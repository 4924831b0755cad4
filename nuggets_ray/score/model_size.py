"""How many parameters a model has, read from its configuration: no weights are loaded.

Must not import ray, hydra or omegaconf; torch and transformers are imported where they are used.
"""

from dataclasses import dataclass

from nuggets_ray.config import ModelConfig
from nuggets_ray.model import LOAD_ERRORS, load_config


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
    import torch
    from transformers import AutoModelForCausalLM

    config = load_config(model, any_architecture=True)
    try:
        with torch.device("meta"):
            made = AutoModelForCausalLM.from_config(
                config, trust_remote_code=model.trust_remote_code
            )
    except LOAD_ERRORS:
        return None
    head = made.get_output_embeddings()
    embeddings = {id(p): p.numel() for p in made.get_input_embeddings().parameters()}
    embeddings |= {id(p): p.numel() for p in head.parameters()}
    num_parameters = sum(p.numel() for p in made.parameters())
    return ModelSize(num_parameters, sum(embeddings.values()), head.weight.numel())
