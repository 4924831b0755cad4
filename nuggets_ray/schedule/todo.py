"""Which candidates of a run folder are still to be scored.

An anti-join: the candidates, without copies, less those in scores/, those that are anchors where
anchors are excluded, and those in skipped.parquet that are not tried again.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nuggets_ray.run.candidates import CandidateIds, is_among
from nuggets_ray.run.scores import complete_ids
from nuggets_ray.run.skipped import LeftOut, given_up


@dataclass(frozen=True, slots=True)
class Todo:
    """What a run has before it, for N candidates.

    `is_todo_N` those to score, `is_again_N` those of them that an earlier attempt gave up; `again`
    {content_id: why} it did, `left_out` the same of those that get no score. `num_reused` are
    scored already.
    """

    is_todo_N: np.ndarray
    is_again_N: np.ndarray
    again: Mapping[str, LeftOut]
    left_out: Mapping[str, LeftOut]
    num_reused: int


def find_todo(
    out_dir: str, candidates: CandidateIds, excluded_ids: Sequence[str], retry: Collection[str]
) -> Todo:
    """What is left to score in `out_dir`.

    `excluded_ids` are the content_ids of anchors that get no score; `retry` (data.retry) names the
    reasons for which a row is tried again.
    """
    reasons = given_up(out_dir)
    again = {i: why for i, why in reasons.items() if why.is_tried_again(retry)}
    left_out = {i: why for i, why in reasons.items() if i not in again}
    left_out |= dict.fromkeys(excluded_ids, LeftOut("is_anchor"))
    is_first_N = ~candidates.is_duplicate_N
    is_done_N = is_among(candidates.content_id_N, complete_ids(out_dir))
    is_todo_N = is_first_N & ~is_done_N & ~is_among(candidates.content_id_N, left_out)
    is_again_N = is_todo_N & is_among(candidates.content_id_N, again)
    return Todo(is_todo_N, is_again_N, again, left_out, int((is_first_N & is_done_N).sum()))


def unanswered(
    out_dir: str, candidates: CandidateIds, rows: np.ndarray, unscored: Collection[str]
) -> np.ndarray:
    """Those of `rows` that came back neither with a score nor among `unscored` (content_ids)."""
    ids_N = candidates.content_id_N[rows]
    is_answered_N = is_among(ids_N, complete_ids(out_dir)) | is_among(ids_N, unscored)
    return np.compress(~is_answered_N, rows)
