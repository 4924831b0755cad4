"""Compiled layers and a compiled head: the same log-probs, and graphs that neither the model's
depth nor a pack's length adds to."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch._dynamo
from tiny_models import make_anchor, make_model, random_ids

from nuggets_ray.score import compiled, head
from nuggets_ray.score.speed import AS_IT_IS, Speed
from nuggets_ray.score.tree import tree_log_probs

ANCHORS = [make_anchor(seed, 4, 3 + 5 * seed) for seed in range(5)]
PREFIXES = [random_ids(1, 20), random_ids(2, 9)]
BOTH = Speed("merge", compile_layers=True, compile_head=True)


@pytest.fixture
def num_graphs(monkeypatch):
    """How many graphs were made so far; they are run as they are, not compiled further."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    head.compiled_log_probs.cache_clear()
    monkeypatch.setattr(compiled, "BACKEND", backend)
    yield lambda: len(graphs)
    torch._dynamo.reset()
    head.compiled_log_probs.cache_clear()


def log_probs(model, speed, prefixes=PREFIXES, size=60):
    with torch.inference_mode():
        return tree_log_probs(model, ANCHORS, prefixes, size, speed=speed).numpy()


def test_neither_depth_nor_length_adds_a_graph(num_graphs):
    model = make_model("llama", num_hidden_layers=2)
    wanted = log_probs(model, AS_IT_IS)
    np.testing.assert_allclose(log_probs(model, BOTH), wanted, atol=1e-5, rtol=0)
    first = num_graphs()
    assert 0 < first < 20
    deeper = make_model("llama", num_hidden_layers=12)  # more than dynamo compiles one function for
    longer = [random_ids(3, 71), random_ids(4, 33)]
    found = log_probs(deeper, BOTH, longer, 300)
    np.testing.assert_allclose(found, log_probs(deeper, AS_IT_IS, longer, 300), atol=1e-5, rtol=0)
    assert num_graphs() == first


def test_the_layers_are_the_models_own_again():
    model = make_model("llama")
    with compiled.compiled_layers(model):
        assert all("forward" in layer.__dict__ for layer in compiled.decoder_layers(model))
    assert len(compiled.decoder_layers(model)) == 2
    assert not any("forward" in layer.__dict__ for layer in compiled.decoder_layers(model))


def test_a_model_without_marked_layers_is_told():
    with (
        pytest.raises(ValueError, match="not recognised"),
        compiled.compiled_layers(SimpleNamespace(base_model=torch.nn.Linear(1, 1))),
    ):
        pass


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling for a CPU needs g++")
def test_inductor_gives_the_same_log_probs():
    model = make_model("llama")
    found = log_probs(model, BOTH)
    np.testing.assert_allclose(found, log_probs(model, AS_IT_IS), atol=1e-5, rtol=0)
