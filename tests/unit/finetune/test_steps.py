"""The steps: every row as often as it should, the same on any worker count, micro-batches alike."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.steps import (
    Schedule,
    learning_rate,
    make_schedule,
    measure,
    micro_batches,
    padded_tokens,
)


def test_each_epoch_takes_every_row_once_in_another_order() -> None:
    schedule = Schedule(num_rows=10, batch_rows=4, num_steps=5, seed=3)
    rows = np.concatenate([schedule.rows(step) for step in range(5)])
    assert sorted(rows[:10]) == sorted(rows[10:20]) == list(range(10))
    assert rows[:10].tolist() != rows[10:20].tolist()
    assert schedule.epochs == 2.0


def test_a_step_is_the_same_whenever_it_is_asked_for() -> None:
    schedule = Schedule(num_rows=50, batch_rows=7, num_steps=30, seed=1)
    late = schedule.rows(29)
    assert [schedule.rows(step).tolist() for step in range(30)][29] == late.tolist()
    assert Schedule(50, 7, 30, seed=2).rows(29).tolist() != late.tolist()


@pytest.mark.parametrize(
    ("changes", "num_rows", "num_steps", "batch_rows"),
    [
        ({"epochs": 3.0, "batch_rows": 256}, 520, 7, 256),
        ({"epochs": 3.0, "batch_rows": 256, "min_steps": 30}, 520, 30, 256),
        ({"epochs": 3.0, "batch_rows": 256}, 19, 3, 19),
        ({"epochs": 3.0, "batch_rows": 8, "max_steps": 4}, 64, 4, 8),
        ({"epochs": 0.1, "batch_rows": 1}, 30, 3, 1),
    ],
)
def test_number_of_steps(
    changes: dict[str, float], num_rows: int, num_steps: int, batch_rows: int
) -> None:
    schedule = make_schedule(FinetuneConfig(**changes), num_rows, 1, seed=0)  # type: ignore[arg-type]
    assert (schedule.num_steps, schedule.batch_rows) == (num_steps, batch_rows)


def test_too_few_rows_for_the_workers_is_told() -> None:
    with pytest.raises(UserError, match=r"cluster.num_workers=4: there are 3 rows.*=3 or less"):
        make_schedule(FinetuneConfig(), 3, 4, seed=0)
    with pytest.raises(UserError, match=r"cluster.num_workers=4: finetune.batch_rows=2"):
        make_schedule(FinetuneConfig(batch_rows=2), 30, 4, seed=0)


lengths = st.lists(st.integers(1, 300), min_size=1, max_size=60)


@given(lengths, st.integers(1, 5), st.integers(1, 2000))
def test_micro_batches_hold_every_row_once_within_the_limit(
    row_lengths: list[int], num_workers: int, max_tokens: int
) -> None:
    length_B = np.array(row_lengths)
    batches = micro_batches(length_B, num_workers, max_tokens)
    assert {len(slot) for slot in batches} == {num_workers}
    parts = [part for slot in batches for part in slot]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(length_B)))
    for part in parts:
        assert len(part) <= 1 or len(part) * length_B[part].max() <= max_tokens
    # no more slots than the limit asks for, so nobody idles through a slot of its own
    assert any(len(part) for part in batches[-1])


def test_rows_of_like_length_lie_together_and_workers_get_alike_shares() -> None:
    length_B = np.random.default_rng(0).integers(20, 400, 64)
    batches = micro_batches(length_B, 4, 1600)
    assert sum(padded_tokens(length_B, batches)) < 1.25 * length_B.sum()
    costs = [[len(part) * length_B[part].max() for part in slot] for slot in batches]
    per_worker = np.array(costs).sum(axis=0)
    assert per_worker.max() < 1.25 * per_worker.min()


def test_the_learning_rate_warms_up_and_falls() -> None:
    config = FinetuneConfig(learning_rate=1.0, warmup_fraction=0.1, lr_schedule="cosine")
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 11) and rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))
    linear = FinetuneConfig(learning_rate=1.0, warmup_fraction=0.0, lr_schedule="linear")
    assert [learning_rate(linear, step, 4) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]


def test_the_work_counts_tokens_padding_and_slots() -> None:
    schedule = Schedule(num_rows=4, batch_rows=4, num_steps=2, seed=0)
    work = measure(schedule, np.array([10, 10, 6, 6]), np.array([1, 2, 3, 4]), 2, 20)
    assert (work.num_tokens, work.num_answer_tokens) == (64, 20)
    assert (work.num_padded_tokens, work.max_padded_tokens, work.num_slots) == (64, 20, 1)
