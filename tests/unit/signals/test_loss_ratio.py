"""Data-Juicer's mean loss ratio, worked by hand."""

import numpy as np
import pytest

from nuggets_ray.signals.loss_ratio import loss_ratio


def test_losses_without_over_losses_with_the_row() -> None:
    one_shot_NA = np.array([[-1.0, -2.0], [-4.0, -2.0]], np.float32)
    # 2 / 1 and 2 / 2; 2 / 4 and 2 / 2
    assert loss_ratio(one_shot_NA, np.array([-2.0, -2.0])) == pytest.approx([1.5, 0.75])


def test_the_row_itself_and_anchors_without_a_loss_are_left_out() -> None:
    one_shot_NA = np.array([[np.nan, -2.0, 0.0], [np.nan, np.nan, 0.0]])
    values = loss_ratio(one_shot_NA, np.array([-1.0, -3.0, 0.0]))
    assert values[0] == 1.5 and np.isnan(values[1])
