"""The work is that of the official anchors; a setting that cannot be is told."""

import pytest
import torch

from nuggets_ray.bench.gpu import speed
from nuggets_ray.bench.gpu.speed import Bench, make_anchors, settings
from nuggets_ray.score.speed import AS_IT_IS

CPU = torch.device("cpu")


def test_the_anchors_are_like_the_official_ones() -> None:
    anchors = make_anchors(100)
    num_tokens = sum(anchor.num_tokens for anchor in anchors)
    assert len(anchors) == 100 and num_tokens == pytest.approx(13_242, rel=0.02)
    assert sum(anchor.num_answer_tokens for anchor in anchors) == pytest.approx(10_535, rel=0.03)


def test_a_setting_is_timed_or_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "MIN_RUN_S", 0.0)
    bench = Bench("tiny", CPU, 1e9)
    timed = bench.timed("as it is", AS_IT_IS, 512)
    assert not timed.failure and timed.row_s > 0 and timed.flops > 0
    assert timed.peak_bytes > 0 and timed.formula_bytes == bench.formula_bytes(512, AS_IT_IS) > 0
    assert bench.rates(512).in_turn > 0
    assert sum(bench.profile(512, AS_IT_IS).values()) > 0

    def full(**keywords: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    bench.model.base_model.forward = full
    assert "OutOfMemoryError" in bench.timed("as it is", AS_IT_IS, 512).failure
    bench.close()


def test_on_a_gpu_every_pack_and_every_switch_is_timed() -> None:
    names = [name for name, _, _ in settings(torch.device("cuda"))]
    assert names.count("as it is") == 3 and {"gather", "flex", "the same, gather"} <= set(names)
    assert "gather" not in [name for name, _, _ in settings(CPU)]
