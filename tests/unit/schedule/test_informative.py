"""Which anchors come first."""

import numpy as np
import pytest

from nuggets_ray.schedule.factor_model import fit
from nuggets_ray.schedule.informative import choose_block, first_block_size


def test_anchors_that_tell_most_a_token_come_first() -> None:
    rng = np.random.default_rng(0)
    loadings_M = np.where(np.arange(40) < 8, 1.0, 0.05)
    delta = rng.standard_normal((200, 1)) * loadings_M + 0.5 * rng.standard_normal((200, 40))
    model = fit(delta, num_factors=1)
    tokens_M = np.full(40, 70.0)
    tokens_M[0] = 7000.0
    block = choose_block(model, np.zeros(0, np.int64), 7, np.zeros(1), tokens_M)
    assert set(block) == set(range(1, 8))
    after = choose_block(model, block, 5, np.zeros(1), tokens_M)
    assert not set(block) & set(after) and len(set(after)) == 5


@pytest.mark.parametrize(
    ("num_anchors", "size"), [(1, 1), (3, 3), (40, 5), (100, 5), (1000, 10), (5000, 50)]
)
def test_the_first_block_is_a_small_share_of_the_anchors(num_anchors: int, size: int) -> None:
    assert first_block_size(num_anchors) == size
