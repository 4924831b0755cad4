"""Length as a measure."""

import numpy as np

from nuggets_ray.signals.longest import longest


def test_answer_tokens_as_numbers() -> None:
    assert longest(np.array([3, 10], np.int32)).tolist() == [3.0, 10.0]
