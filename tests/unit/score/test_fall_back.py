"""What slower ways cost on a GPU is counted, and told."""

from types import SimpleNamespace

import pytest
import torch
from tiny_models import make_anchor

from nuggets_ray.score.fall_back import dtype_warning, engine_warning, work_factor

ANCHORS = [make_anchor(seed, 100, 32) for seed in range(100)]


def test_the_factor_is_of_tokens_through_the_model() -> None:
    assert work_factor("tree", ANCHORS, 4096) == 1.0
    assert work_factor("kv_cache", ANCHORS, 4096) == 1.0  # equal anchors: no padding
    assert work_factor("plain", ANCHORS, 4096) == pytest.approx(33_200 / 13_400)
    unequal = [make_anchor(0, 9, 1), make_anchor(1, 29, 1)]
    assert work_factor("kv_cache", unequal, 4096, prefix=20) == pytest.approx(80 / 60)
    assert work_factor("kv_cache", unequal, 60, prefix=20) == pytest.approx(60 / 60)
    assert work_factor("plain", [], 4096) == 0.0


def test_an_engine_that_is_not_the_tree_is_a_sentence() -> None:
    told = engine_warning("plain", ANCHORS, 4096, "tree differs by 2 nats")
    assert "2.5 times the tokens" in told and "(tree differs by 2 nats)" in told
    assert "reads the demonstration's keys again" in engine_warning("kv_cache", ANCHORS, 4096, "")


def test_a_gpu_without_bfloat16_is_told_with_what_that_costs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = SimpleNamespace(device=torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    told = dtype_warning(model)  # type: ignore[arg-type]
    assert told is not None and "Tesla T4 (compute capability 7.5)" in told and "8 times" in told
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert dtype_warning(model) is None  # type: ignore[arg-type]
    assert dtype_warning(SimpleNamespace(device=torch.device("cpu"))) is None  # type: ignore[arg-type]
