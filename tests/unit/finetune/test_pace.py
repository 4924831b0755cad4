"""How long a training takes, from its own steps."""

import pytest

from nuggets_ray.finetune.pace import Pace


def test_no_time_is_told_before_steps_are_measured() -> None:
    pace = Pace(num_steps=10)
    told = []
    for step in (1, 2, 3, 4):
        pace.add_step(9.0 if step == 1 else 2.0)  # the first warms up
        told.append((pace.left_s(step), pace.is_just_measured))
    assert told == [(None, False), (None, False), (14.0, True), (12.0, False)]


def test_evaluations_and_checkpoints_count_by_their_mean_a_step() -> None:
    pace = Pace(num_steps=100)
    for _ in range(4):
        pace.add_step(1.0)
    pace.add_beside(2.0)
    assert pace.left_s(50) == pytest.approx(50 * 1.5)


def test_a_new_group_of_workers_is_measured_anew() -> None:
    pace = Pace(num_steps=10)
    for _ in range(3):
        pace.add_step(1.0)
    pace.start()
    pace.add_step(5.0)
    assert pace.left_s(4) is None
