"""Rotary embeddings that depend on the longest position: past their limit no anchors share."""

import numpy as np
import pytest
from tiny_models import COMMON, make_anchor, make_model, random_ids
from transformers import LlamaConfig, Phi3Config

from nuggets_ray.score.engine import make_engine
from nuggets_ray.score.reference import reference_log_probs
from nuggets_ray.score.rope import max_shared_tokens

LIMIT = 192
DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 100.0}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 100.0,
    "short_factor": [1.0, 1.0, 1.0, 1.0],
    "long_factor": [1.0, 2.0, 4.0, 8.0],
    "original_max_position_embeddings": LIMIT,
}
CONFIGS = {
    "dynamic": lambda: LlamaConfig(
        **COMMON | {"max_position_embeddings": LIMIT}, rope_parameters=DYNAMIC
    ),
    "longrope": lambda: Phi3Config(
        **COMMON, original_max_position_embeddings=LIMIT, rope_parameters=LONGROPE
    ),
}


@pytest.fixture(params=CONFIGS)
def model(request, monkeypatch):
    monkeypatch.setitem(make_model.__globals__["CONFIGS"], request.param, CONFIGS[request.param])
    return make_model(request.param)


def test_the_limit_is_the_original_context(model):
    assert max_shared_tokens(model.config) == LIMIT


def test_other_rotary_embeddings_have_no_limit():
    for family in ("llama", "gpt2", "gpt_oss", "bloom"):
        assert max_shared_tokens(make_model(family).config) is None


def test_log_probs_on_both_sides_of_the_limit_are_the_references(model):
    anchors = [make_anchor(seed, 4, num) for seed, num in enumerate((6, 6, 11, 40))]
    # Up to the limit with every anchor, across it, past it, and up to it again.
    prefixes = [random_ids(seed, num) for seed, num in enumerate((20, LIMIT - 20, LIMIT, 30))]
    engine = make_engine(model, anchors)
    assert engine.name == "tree"
    expected = reference_log_probs(model, anchors, prefixes)
    np.testing.assert_allclose(engine.log_probs(prefixes), expected, atol=1e-4, rtol=0)
    np.testing.assert_allclose(engine.log_probs(prefixes[::-1]), expected[::-1], atol=1e-4, rtol=0)
