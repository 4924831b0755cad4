"""Which micro-batch is taken, and whether activations are computed again, where memory is short."""

from dataclasses import replace
from pathlib import Path

import pytest
from transformers import LlamaConfig

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.memory import Room
from nuggets_ray.finetune.micro_batch import Choice, as_begun, choose, decided, ways
from nuggets_ray.finetune.size import TrainedSize, trained_size
from nuggets_ray.finetune.steps import Work


def full_batches(max_tokens: int) -> Work:
    """Rows enough to fill every micro-batch."""
    return Work(10**6, 10**5, 10**6, max_tokens, 1)


def chosen(config: FinetuneConfig, size: TrainedSize, gib: float, num_workers: int = 8) -> Choice:
    room = Room("cuda", gib, 1000.0)
    return choose(config, size, "bfloat16", num_workers, room, full_batches)


@pytest.fixture(scope="module")
def seven_b(tmp_path_factory: pytest.TempPathFactory) -> TrainedSize:
    folder: Path = tmp_path_factory.mktemp("llama-7b")
    LlamaConfig(dtype="bfloat16").save_pretrained(folder)
    return trained_size(ModelConfig(path=str(folder)), FinetuneConfig(), "bfloat16")


def test_a_7b_model_on_80_gib_takes_a_smaller_micro_batch_and_says_so(seven_b: TrainedSize) -> None:
    assert seven_b.num_parameters > 6.7e9 and seven_b.base_dtype == "bfloat16"
    found = chosen(FinetuneConfig(), seven_b, 79.0)
    assert found.config.micro_batch_tokens == 4096
    assert found.config.gradient_checkpointing is False
    assert found.needed.total_gib < 0.9 * 79
    assert found.why is not None and "4,096 tokens a micro-batch" in found.why
    assert "16,384 tokens without computing again would need about" in found.why


def test_where_that_is_not_enough_activations_are_computed_again(seven_b: TrainedSize) -> None:
    found = chosen(FinetuneConfig(), seven_b, 40.0)
    assert (found.config.micro_batch_tokens, found.config.gradient_checkpointing) == (16384, True)
    assert found.why is not None and "computed again" in found.why


def test_where_all_fits_nothing_is_said(seven_b: TrainedSize) -> None:
    found = chosen(FinetuneConfig(), seven_b, 200.0)
    assert found.config == FinetuneConfig(micro_batch_tokens=16384, gradient_checkpointing=False)
    assert found.why is None


def test_what_is_given_stays(seven_b: TrainedSize) -> None:
    both = FinetuneConfig(micro_batch_tokens=16384, gradient_checkpointing=False)
    assert (chosen(both, seven_b, 79.0).config, chosen(both, seven_b, 79.0).why) == (both, None)
    tokens = chosen(FinetuneConfig(micro_batch_tokens=16384), seven_b, 79.0).config
    assert (tokens.micro_batch_tokens, tokens.gradient_checkpointing) == (16384, True)
    again = chosen(FinetuneConfig(gradient_checkpointing=False), seven_b, 40.0).config
    assert again.gradient_checkpointing is False and (again.micro_batch_tokens or 0) < 4096


def test_where_nothing_fits_the_least_is_taken(seven_b: TrainedSize) -> None:
    found = chosen(FinetuneConfig(), seven_b, 20.0)
    assert (found.config.micro_batch_tokens, found.config.gradient_checkpointing) == (512, True)


def test_a_model_without_checkpointing_is_not_given_it(seven_b: TrainedSize) -> None:
    without = replace(seven_b, can_recompute=False)
    assert chosen(FinetuneConfig(), without, 20.0).config.gradient_checkpointing is False
    with pytest.raises(UserError, match="gradient_checkpointing=true.*leave it out"):
        list(ways(FinetuneConfig(gradient_checkpointing=True), "cuda", can_recompute=False))


def test_a_run_goes_on_with_what_it_has_decided() -> None:
    begun = FinetuneConfig(micro_batch_tokens=4096, gradient_checkpointing=True)
    assert as_begun(FinetuneConfig(), decided(begun)) == begun
    assert as_begun(FinetuneConfig(), {}) == FinetuneConfig()
    lower = FinetuneConfig(micro_batch_tokens=1024)
    assert as_begun(lower, decided(begun)) == replace(begun, micro_batch_tokens=1024)
