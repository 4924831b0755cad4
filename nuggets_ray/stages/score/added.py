"""Add anchors to a scored run: every row that has a golden score meets the new ones alone, then the
rows with all their columns take the place of what they were.

added/ is the state: its anchors.parquet says what is being added, its parts what was computed; so
whatever ended an attempt, the next one goes on.
"""

import logging
from collections.abc import Collection

import numpy as np

from nuggets_ray import io
from nuggets_ray.errors import UserError
from nuggets_ray.prompts.prompt import Prompt
from nuggets_ray.run.added import answered_ids, begin_swap, finish_swap
from nuggets_ray.run.candidates import CandidateIds, is_among
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.scores import complete_ids, complete_parts, write_widened_scores
from nuggets_ray.score.limits import demonstration_limit
from nuggets_ray.score.one_shot import keeps_self
from nuggets_ray.score.widen import widened_tables
from nuggets_ray.score.zero_shot import ZeroShot
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.score.rows import RowsAsked, compute
from nuggets_ray.stages.score.worker import Setup

logger = logging.getLogger(__name__)


def add_anchors(
    run: Run,
    setup: Setup,
    candidates: CandidateIds,
    base: ZeroShot,
    num_known: int,
    prompt: Prompt,
    workers: Workers,
) -> None:
    """Let the scored rows meet the anchors of `base` from `num_known` on, and put what comes of it
    into scores/ and anchors.parquet.

    A row that cannot meet them has no score any more: it is scored anew with the rest, or given up
    there with its reason. Raises UserError where the scores hold rows that are no candidates now,
    or the added anchors leave less room for demonstrations than those were cut to.
    """
    out_dir = run.out_dir
    _check_room(setup, base, num_known)
    rows = _scored_rows(out_dir, candidates)
    done = answered_ids(out_dir)
    is_done = is_among(candidates.content_id_N[rows], done)
    added = tuple(range(num_known, len(base.anchors)))
    logger.info(
        "%d anchors are added to the %d of the run: %d scored candidates meet those alone",
        *(len(added), num_known, len(rows)),
    )

    def unanswered(among: np.ndarray, unscored: Collection[str]) -> np.ndarray:
        ids = candidates.content_id_N[among]
        is_answered = is_among(ids, answered_ids(out_dir)) | is_among(ids, unscored)
        return np.compress(~is_answered, among)

    asked = RowsAsked(
        rows[~is_done],
        np.zeros(0, np.int64),
        added,
        int(is_done.sum()),
        unanswered,
        lambda: len(answered_ids(out_dir)) - len(done),
    )
    unscored = {}
    if len(asked.rows):
        unscored = compute(run, setup, candidates, asked, base, workers)
    num_met = len(asked.rows) - len(unscored)
    run.update(num_added_anchors=len(added), num_added_passes=num_met * len(added))
    _put_in_place(run, base, prompt)
    logger.info("golden scores are over %d anchors now", len(base.anchors))


def _scored_rows(out_dir: str, candidates: CandidateIds) -> np.ndarray:
    """Distinct candidates that have a golden score."""
    scored = complete_ids(out_dir)
    is_known = is_among(scored, candidates.example_id_N)
    if not is_known.all():
        raise UserError(
            f"{np.count_nonzero(~is_known)} rows of the scores are no candidates any more, so they "
            "cannot meet the added anchors: give the data.* that they were scored with, or another "
            "out_dir"
        )
    is_scored_N = is_among(candidates.content_id_N, scored) & ~candidates.is_duplicate_N
    return np.flatnonzero(is_scored_N)


def _check_room(setup: Setup, base: ZeroShot, num_known: int) -> None:
    config = setup.config
    before = base.take(range(num_known)).max_tokens
    limit = demonstration_limit(config.model, config.score, config.prompt, before)
    if config.data.on_too_long == "truncate" and setup.max_demonstration_tokens < limit:
        raise UserError(
            f"the longest added anchor has {base.max_tokens} tokens, which leaves "
            f"{setup.max_demonstration_tokens} for a demonstration, and the rows were cut to "
            f"{limit}: take shorter anchors, or another out_dir"
        )


def _put_in_place(run: Run, base: ZeroShot, prompt: Prompt) -> None:
    run.tell("putting the added anchors into the scores")
    out_dir = run.out_dir
    io.delete(RunFolder(out_dir).added.scores)  # what a kill left
    tables = widened_tables(out_dir, base, keeps_self(prompt))
    new = write_widened_scores(out_dir, run.attempt_id, tables)
    old = [uri.rpartition("/")[2] for uri in complete_parts(out_dir)]
    begin_swap(out_dir, old, new)
    finish_swap(out_dir)
