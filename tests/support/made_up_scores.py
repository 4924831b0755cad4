"""Rows of scores/ with numbers that a test chooses."""

from collections.abc import Sequence

import numpy as np

from nuggets_ray.records import ScoreRow


def score_row(content_id: str, one_shot: Sequence[float], status: str = "complete") -> ScoreRow:
    """A row with these log-probs; its other numbers mean nothing."""
    return ScoreRow(
        example_id=content_id,
        content_id=content_id,
        golden_score=0.5 if status == "complete" else None,
        num_wins=1,
        num_anchors=len(one_shot),
        mean_delta=0.0,
        num_near_ties=0,
        score_low=0.0,
        score_high=1.0,
        status=status,
        num_prompt_tokens=3,
        num_answer_tokens=4,
        num_dropped_tokens=0,
        self_anchor_index=None,
        one_shot_logprob=np.array(one_shot, np.float32),
    )
