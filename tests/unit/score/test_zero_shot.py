"""The baseline, whole and in part."""

import numpy as np
from tiny_models import make_anchor

from nuggets_ray.records import Anchor
from nuggets_ray.score.zero_shot import ZeroShot

ANCHORS = tuple(
    Anchor(f"a{i}", f"c{i}", "test", f"anchor {i}", make_anchor(i, 3 + i, 4)) for i in range(3)
)
BASELINE = ZeroShot(ANCHORS, np.array([-1.0, -2.0, -3.0], np.float32), noise_band_nats=0.1)


def test_tokens_are_those_of_all_anchors() -> None:
    assert (BASELINE.num_tokens, BASELINE.max_tokens) == (3 * 4 + 3 + 4 + 5, 9)


def test_some_anchors_are_taken_in_the_order_given() -> None:
    some = BASELINE.take([2, 0])
    assert [anchor.anchor_id for anchor in some.anchors] == ["a2", "a0"]
    assert some.zero_shot_A.tolist() == [-3.0, -1.0] and some.noise_band_nats == 0.1
    bands = ZeroShot(ANCHORS, BASELINE.zero_shot_A, np.array([0.1, 0.2, 0.3])).take([2, 0])
    assert np.array_equal(bands.noise_band_nats, [0.3, 0.1])


def test_a_candidate_that_is_an_anchor_is_found() -> None:
    assert BASELINE.self_anchor_index("c1") == 1
    assert BASELINE.self_anchor_index("elsewhere") is None
