"""Parameters counted without weights are those of the loaded model."""

import json
from pathlib import Path

import pytest
from tiny_models import CONFIGS, make_model

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.model.size import model_size


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2", "jamba"])
def test_the_size_is_the_loaded_model_s(family: str, tmp_path: Path) -> None:
    CONFIGS[family]().save_pretrained(tmp_path)
    size = model_size(ModelConfig(path=str(tmp_path)))
    model = make_model(family)  # its head is untied there
    head = model.get_output_embeddings().weight.numel()
    is_tied = model.config.tie_word_embeddings
    assert size is not None and size.num_head_weights == head
    assert size.num_parameters == sum(p.numel() for p in model.parameters()) - is_tied * head
    body = size.num_parameters - size.num_embedding_parameters
    assert body == sum(p.numel() for p in model.parameters()) - 2 * head


def test_an_architecture_unknown_to_transformers_has_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "unheard_of"}))
    assert model_size(ModelConfig(path=str(tmp_path))) is None
