"""The projection is the model's own: soft-caps and scales included, at answer positions only."""

import numpy as np
import pytest
import torch
from tiny_models import COMMON, CONFIGS, make_anchor, make_model, random_ids
from transformers import CohereConfig, GraniteConfig

from nuggets_ray.score import head
from nuggets_ray.score.engine import Engine
from nuggets_ray.score.reference import reference_log_probs

SCALED = {
    "granite": lambda: GraniteConfig(**COMMON, logits_scaling=3.0, attention_multiplier=0.3),
    "cohere": lambda: CohereConfig(**COMMON, logit_scale=0.25),
}
ANCHORS = [make_anchor(0, 5, 4), make_anchor(1, 2, 7)]
PREFIXES = [random_ids(2, 6)]


@pytest.mark.parametrize("family", SCALED)
def test_scaled_logits_are_the_models_own(family, monkeypatch):
    monkeypatch.setitem(CONFIGS, family, SCALED[family])
    model = make_model(family)
    found = Engine(model, ANCHORS, "tree", "", 100).log_probs(PREFIXES)
    expected = reference_log_probs(model, ANCHORS, PREFIXES)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("num_rows", [1, 3, 11, 128])
def test_only_answer_positions_are_projected_a_chunk_at_a_time(num_rows, monkeypatch):
    monkeypatch.setitem(head.CHUNK_ROWS, "cpu", num_rows)
    model = make_model("gemma2")
    expected = reference_log_probs(model, ANCHORS, PREFIXES)
    rows = []
    model.get_output_embeddings().register_forward_hook(
        lambda module, inputs, output: rows.append(output.shape[-2])
    )
    found = Engine(model, ANCHORS, "tree", "", 100).log_probs(PREFIXES)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)
    assert sum(rows) == 4 + 7 and max(rows) <= num_rows


def test_the_body_has_its_forward_back():
    model = make_model("llama")
    own = model.base_model.forward
    Engine(model, ANCHORS, "tree", "", 100).log_probs(PREFIXES)
    assert model.base_model.forward == own
    assert "forward" not in vars(model.base_model)
    assert isinstance(model(input_ids=torch.zeros(1, 3, dtype=torch.long)).logits, torch.Tensor)
