"""Rows of scores/, complete and eliminated."""

import numpy as np
import pytest

from nuggets_ray.score.score_rows import complete_row, eliminated_row
from nuggets_ray.score.zero_shot import ZeroShot

BASELINE = ZeroShot((), np.full(4, -1.0, np.float32), noise_band_nats=0.05)


def test_a_complete_row_has_its_golden_score() -> None:
    row = complete_row("a", (3, 5, 0), np.array([-0.5, -2, -0.99, -0.9]), BASELINE, None)
    assert (row.golden_score, row.num_wins, row.num_near_ties) == (0.75, 3, 1)
    assert (row.status, row.num_prompt_tokens, row.num_answer_tokens) == ("complete", 3, 5)


def test_an_eliminated_row_has_none_and_bounds_that_hold() -> None:
    one_shot = np.array([-0.5, np.nan, np.nan, -2.0], np.float32)
    row = eliminated_row("a", (3, 5, 0), one_shot, BASELINE, None)
    assert row.golden_score is None and row.status == "eliminated"
    assert (row.num_wins, row.num_anchors) == (1, 2)
    assert (row.score_low, row.score_high) == (0.25, 0.75)
    assert row.mean_delta == pytest.approx(-0.25)
    own = eliminated_row("a", (3, 5, 0), one_shot, BASELINE, 0)
    assert (own.num_wins, own.num_anchors, own.score_low, own.score_high) == (0, 1, 0, 2 / 3)
