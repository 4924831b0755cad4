"""Made-up worlds are what their heads say."""

import numpy as np
import pytest

from nuggets_ray.bench.worlds import WORLDS


@pytest.mark.parametrize("kind", ["exchangeable", "item_response"])
def test_win_shares_follow_the_published_distribution(kind: str) -> None:
    share_N = (WORLDS[kind](4000, 500, 0).delta > 0).mean(axis=1)
    assert np.mean(share_N <= 0.5) == pytest.approx(0.18, abs=0.05)
    assert np.mean(share_N > 0.8) == pytest.approx(0.15, abs=0.06)


@pytest.mark.parametrize("kind", ["factor", "factor_tail"])
def test_a_factor_world_looks_like_a_real_matrix(kind: str) -> None:
    delta = WORLDS[kind](2000, 100, 0).delta
    correlation = np.corrcoef(delta.T)[np.triu_indices(100, 1)]
    win_M = (delta > 0).mean(axis=0)
    assert np.mean(correlation < 0) == pytest.approx(0.2, abs=0.15)
    assert win_M.min() < 0.1 and win_M.max() > 0.6


@pytest.mark.parametrize("kind", WORLDS)
def test_what_is_asked_is_counted_and_seeded(kind: str) -> None:
    world, again = WORLDS[kind](50, 20, 3), WORLDS[kind](50, 20, 3)
    rows, anchors = np.array([1, 4]), np.array([0, 2, 7])
    assert np.array_equal(world.ask(rows, anchors), again.delta[np.ix_(rows, anchors)])
    assert world.passes == 6
    tokens = world.demo_tokens[rows].sum() + 2 * world.anchor_tokens[anchors].sum()
    assert world.tokens == tokens
