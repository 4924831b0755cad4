"""What a race settled, and what of a selection goes past it: rows that a race left behind have no
golden score, and might belong to the best.
"""

from typing import Any

import numpy as np

from nuggets_ray.config.keys import job_command
from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.run.explored import is_explored
from nuggets_ray.run.joined import Scored
from nuggets_ray.run.manifest import read_manifest
from nuggets_ray.run.promise import selection_promise
from nuggets_ray.run.rounds import settled_k, settled_score
from nuggets_ray.select import Scores, Selection, past_threshold


def check_explored(out_dir: str, scored: Scored, config: SelectConfig) -> None:
    """Raise UserError for golden scores of an explored folder, which has those of its pilot
    only."""
    is_whole = not (np.isnan(scored.scores.golden_score).any() or scored.num_pending)
    if config.by != "golden_score" or is_whole or not is_explored(read_manifest(out_dir) or {}):
        return
    raise UserError(
        f"select.by=golden_score: schedule=explore gave the rows of {out_dir} no golden scores: "
        f"take select.by=posterior_score, or run {job_command('score')} with this out_dir and "
        "schedule=race or schedule=full, which goes on from what is there"
    )


def num_settled(out_dir: str, scores: Scores, config: SelectConfig) -> int | None:
    """How many of the best rows by golden score a race settled; None where every row has its score,
    or they are ranked by another. Raises UserError for the worst rows, of which it settled none.
    """
    top_k = settled_k(read_manifest(out_dir) or {})
    if config.by != "golden_score" or top_k is None or not np.isnan(scores.golden_score).any():
        return None
    if config.set or config.sets:
        key = f"select.set={config.set}" if config.set else f"select.sets={config.sets}"
        raise UserError(
            f"{key}: the race in {out_dir} settled the best rows by their golden scores over all "
            "anchor sets, and left rows behind that may be better for one: score on with "
            "schedule=full, or take the rows that are best over all"
        )
    if config.order == "bottom":
        raise UserError(
            "select.order=bottom: the race left the worst rows behind, without a golden score: "
            "take select.by=posterior_score select.order=bottom, or score on with schedule=full"
        )
    return top_k


def check_settled(out_dir: str, scores: Scores, selection: Selection, config: SelectConfig) -> None:
    """Raise UserError where a race left rows behind that might belong to this selection."""
    top_k = num_settled(out_dir, scores, config)
    if top_k is None:
        return
    is_counted = config.rule != "threshold"
    # of what is past a threshold, near-duplicates too
    rows = selection.row_K if is_counted else past_threshold(selection.ranking, config)
    num_rows = len(np.unique(scores.content_id[rows]))
    if not is_counted:
        _check_settled_score(out_dir, num_rows, top_k, config)
    elif num_rows > top_k:
        raise UserError(
            f"this keeps {num_rows} rows, and the race in {out_dir} settled the best {top_k}: run "
            f"{job_command('score')} with this out_dir, schedule=race and race.top_k={num_rows}, "
            "which goes on from where it ended, or take fewer"
        )


def _check_settled_score(out_dir: str, num_rows: int, top_k: int, config: SelectConfig) -> None:
    """The same of a threshold: where all of the best K are above it, more may be."""
    assert config.min_score is not None
    settled = settled_score(read_manifest(out_dir) or {})
    if settled is None and num_rows < top_k or settled is not None and config.min_score >= settled:
        return
    of_what = f"the best {top_k}" if settled is None else f"the rows above {settled:g}"
    raise UserError(
        f"select.min_score={config.min_score:g}: the race in {out_dir} settled {of_what}, and left "
        f"rows behind that may be above it too: run {job_command('score')} with this out_dir, "
        f"schedule=race and race.min_score={config.min_score:g}, which goes on from where it ended"
    )


def promise_of(
    out_dir: str, scores: Scores, selection: Selection, config: SelectConfig
) -> dict[str, Any] | None:
    """What a race promised of the best by golden score, as deep as the selection reaches."""
    if (config.by, config.order) != ("golden_score", "top") or config.set or config.sets:
        return None
    ranked_R = selection.ranking.ranked_R
    depth = int(np.flatnonzero(np.isin(ranked_R, selection.row_K)).max(initial=-1)) + 1
    num_rows = len(np.unique(scores.content_id[ranked_R[:depth]]))
    return selection_promise((read_manifest(out_dir) or {}).get("race", {}), num_rows)
