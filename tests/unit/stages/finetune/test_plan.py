"""What a fine-tune is planned as on workers with this much memory, and what is told of it."""

import logging
from pathlib import Path

import pytest
from train_runs import LENGTHS, make_rows

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.engine import no_rows
from nuggets_ray.finetune.rows import Encoded
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.finetune.plan import WorkerFacts, make_plan
from nuggets_ray.stages.finetune.rows import SplitRows

ROWS = make_rows(LENGTHS * 400)
SPLIT = SplitRows(ROWS, no_rows(), Encoded(ROWS))
CONFIG = FinetuneConfig(batch_rows=ROWS.num_rows, max_steps=1)
TWO = Workers(2, 0, 1)


def with_memory(gib: float, dtype: str = "float32") -> WorkerFacts:
    """A node of two CPUs."""
    return WorkerFacts(dtype, gib, 0.0, num_cpus=2.0, num_gpus=0.0)


def test_the_workers_of_a_node_share_its_memory() -> None:
    facts = WorkerFacts("bfloat16", 512.0, 80.0, num_cpus=64.0, num_gpus=8.0)
    room = facts.room(Workers(16, 1, 4))
    assert (room.device, room.gib, room.host_gib) == ("cuda", 80.0, 64.0)
    assert facts.room(Workers(4, 0, 8)).gib == 128.0
    assert facts.room(Workers(2, 1, 4)).host_gib == 256.0


def test_where_memory_is_short_the_plan_takes_less_and_warns(
    tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = ModelConfig(path=str(tiny_model))
    caplog.set_level(logging.INFO)
    ample, choice = make_plan(CONFIG, 0, model, SPLIT, with_memory(100.0), TWO)
    assert (ample.max_tokens, ample.finetune.gradient_checkpointing) == (2048, False)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    assert "told once the first steps are measured" in caplog.text

    short = 2 * (choice.needed.total_gib - 0.6 * (choice.needed.activations_gib - 0.75))
    setup, chosen = make_plan(CONFIG, 0, model, SPLIT, with_memory(short), TWO)
    assert setup.max_tokens == 512 and setup.finetune.micro_batch_tokens == 512
    assert chosen.work.num_slots == setup.num_slots > ample.num_slots
    assert "512 tokens a micro-batch" in caplog.text


def test_what_cannot_fit_is_refused(tiny_model: Path) -> None:
    model = ModelConfig(path=str(tiny_model))
    with pytest.raises(UserError, match="a worker needs about"):
        make_plan(CONFIG, 0, model, SPLIT, with_memory(1.0), TWO)


def test_the_float32_weights_of_the_base_are_told(
    tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    model = ModelConfig(path=str(tiny_model))
    make_plan(CONFIG, 0, model, SPLIT, with_memory(100.0, "bfloat16"), TWO)
    assert "the base model's float32 weights as it starts" in caplog.text
