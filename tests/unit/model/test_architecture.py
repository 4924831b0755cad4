"""Models that take more than text are used by their text part."""

import logging
from pathlib import Path

import numpy as np
import pytest
from tiny_models import make_anchor, random_ids
from transformers import AutoModelForCausalLM, BlipConfig, LlamaConfig
from vision_models import save_vision_model

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.model.architecture import auto_class
from nuggets_ray.model.body import text_parts
from nuggets_ray.model.load import load_config, load_model, max_context_tokens
from nuggets_ray.model.size import model_size
from nuggets_ray.model.vllm import text_only
from nuggets_ray.model.weights.headers import check_weights
from nuggets_ray.score.engine import make_engine
from nuggets_ray.score.reference import reference_log_probs

ANCHORS = [make_anchor(seed, *sizes) for seed, sizes in enumerate([(5, 1), (4, 9), (0, 20)])]
PREFIXES = [random_ids(100, 23), random_ids(101, 3), random_ids(102, 0)]
CAUSAL = ("qwen2_5_vl", "qwen3_vl", "mistral3", "llava", "llama4")


@pytest.mark.parametrize("kind", CAUSAL)
def test_a_causal_text_part_is_scored_as_the_whole_model_would(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    expected = reference_log_probs(save_vision_model(kind, tmp_path), ANCHORS, PREFIXES)
    assert expected.max() - expected.min() > 2
    config = ModelConfig(str(tmp_path))
    check_weights(config)
    assert f"takes more than text ({kind}): its text part is used" in caplog.text
    model = load_model(config, "float32", "cpu")
    engine = make_engine(model, ANCHORS)
    assert engine.name == "tree"
    np.testing.assert_allclose(engine.log_probs(PREFIXES), expected, atol=1e-4)
    assert max_context_tokens(load_config(config)) == 512
    assert model_size(config) is not None


def test_what_text_does_not_pass_is_apart(tmp_path: Path) -> None:
    save_vision_model("llava", tmp_path)
    model = load_model(ModelConfig(str(tmp_path)), "float32", "cpu")
    text = {id(weight) for part in text_parts(model) for weight in part.parameters()}
    others = {name for name, weight in model.named_parameters() if id(weight) not in text}
    assert {name.split(".")[1] for name in others} == {"vision_tower", "multi_modal_projector"}


def test_one_whose_text_sees_what_follows_is_refused(tmp_path: Path) -> None:
    save_vision_model("paligemma", tmp_path)
    model = load_model(ModelConfig(str(tmp_path)), "float32", "cpu")
    with pytest.raises(UserError, match="paligemma. is no causal language model"):
        make_engine(model, ANCHORS)


def test_one_that_needs_a_picture_is_not_taken_by_its_text() -> None:
    assert auto_class(BlipConfig()) is AutoModelForCausalLM


def test_vllm_loads_the_text_part_alone(tmp_path: Path) -> None:
    save_vision_model("llava", tmp_path)
    config = load_config(ModelConfig(str(tmp_path)), any_architecture=True)
    assert text_only(config) == {"language_model_only": True}
    assert text_only(LlamaConfig()) == {}
