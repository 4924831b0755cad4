"""What is tried in turn, and what is asked by the configuration."""

import pytest

from nuggets_ray.config.schema import ScoreConfig
from nuggets_ray.score.speed import AS_IT_IS, UNASKED, Speed, speed_of, to_try


def test_nothing_is_compiled_or_fused_unasked() -> None:
    assert speed_of(ScoreConfig()) == UNASKED == Speed("auto")
    asked = ScoreConfig(gpu_attention="gather", compile_head=True)
    assert speed_of(asked) == Speed("gather", compile_head=True)


def test_what_was_asked_is_tried_first_and_then_less_of_it() -> None:
    assert to_try(UNASKED, "cpu") == [AS_IT_IS]
    assert to_try(UNASKED, "cuda") == [AS_IT_IS, Speed("flex")]
    every = Speed("gather", compile_layers=True, compile_head=True)
    assert to_try(every, "cuda") == [every, Speed("gather"), Speed("flex")]
    assert to_try(Speed("flex"), "cuda") == [Speed("flex")]


def test_compiled_layers_have_no_fused_products() -> None:
    with pytest.raises(ValueError, match="cannot have fused products"):
        Speed("merge", compile_layers=True, fuse_products=True)


def test_it_is_told_in_a_few_words() -> None:
    assert Speed("gather", fuse_products=True).told() == "gather, fuse_products"
