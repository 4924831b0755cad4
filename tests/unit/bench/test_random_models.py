"""Models of a given shape: made in their dtype, and what a bench of them needs no tokenizer for."""

from dataclasses import replace

import pytest
import torch
from made_up_bench import TASK
from tiny_models import COMMON

from nuggets_ray.bench import random_models
from nuggets_ray.bench.contenders import LOADERS
from nuggets_ray.bench.plan import Contender
from nuggets_ray.bench.random_models import SIZES, make_random_model
from nuggets_ray.bench.session import encode_works, expected_seconds
from nuggets_ray.bench.workload import load_source

TINY = {**COMMON, "tie_word_embeddings": True}


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(random_models.SIZES, "tiny-random", TINY)


def test_a_random_model_has_its_shape_and_dtype() -> None:
    model = make_random_model("tiny-random", "bfloat16", "cpu")
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    assert model.config.vocab_size == TINY["vocab_size"]
    with torch.device("meta"):
        sizes = {
            name: sum(p.numel() for p in make_random_model(name, "bfloat16", "meta").parameters())
            for name in SIZES
        }
    assert 6.7e9 < sizes["llama-7b-random"] < 6.8e9
    assert 1.2e9 < sizes["llama-1b-random"] < 1.3e9


def test_the_engine_scores_it_on_made_up_ids(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("NUGGETS_TEST_DATA", str(tmp_path))
    task = replace(TASK, model_path="tiny-random", kind="tree", dtype="float32")
    works, reasons = encode_works(["cut-50", "text-50"], load_source(3), task, 2)
    assert works.keys() == {"cut-50"} and "no tokenizer" in reasons["text-50"]
    work = works["cut-50"]
    assert max(anchor.token_ids.max() for anchor in work.anchors) < TINY["vocab_size"]
    found_CA = LOADERS["tree"](task).prepare(work)([0, 1])
    assert found_CA.shape == (2, 3) and (found_CA < 0).all()


def test_the_guess_at_the_time_knows_what_each_contender_repeats(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setenv("NUGGETS_TEST_DATA", str(tmp_path))
    monkeypatch.setattr("nuggets_ray.bench.session.product_rate", lambda *_: 1e9)
    task = replace(TASK, model_path="tiny-random")
    works, _ = encode_works(["cut-50"], load_source(None), task, 1)
    kinds = ("tree", "official", "vllm", "plain")
    contenders = [Contender(kind, kind, "float32", "") for kind in kinds]
    found = expected_seconds({"cut-50": contenders}, works, task, 1)
    assert found["cut-50", "tree"] < found["cut-50", "plain"] < found["cut-50", "vllm"]
    twice = expected_seconds({"cut-50": contenders}, works, task, 2)
    assert twice["cut-50", "official"] == pytest.approx(2 * found["cut-50", "official"])
