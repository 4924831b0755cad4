"""Signals of rows that have their scores without them: an older folder's, or those of a run that
asked for fewer. Only the demonstrations go through the model, in blocks, resumably.
"""

import logging

import numpy as np
import ray

from nuggets_ray.config.schema import Config
from nuggets_ray.run.candidates import CandidateIds, is_among
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.scores import scored_ids
from nuggets_ray.run.signals import lacking
from nuggets_ray.schedule.full import most_rows, plan_blocks
from nuggets_ray.score.zero_shot import ZeroShot
from nuggets_ray.signals.names import wanted
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.score.pool import Block, ScorerPool
from nuggets_ray.stages.score.rows import make_progress, timed
from nuggets_ray.stages.score.worker import Setup

logger = logging.getLogger(__name__)


def complete_signals(
    run: Run, setup: Setup, candidates: CandidateIds, base: ZeroShot, workers: Workers
) -> None:
    """Compute the signals that are asked by name of every scored row that lacks one. What no worker
    could compute is counted in a warning, and tried again by the next attempt."""
    config = setup.config
    rows = rows_to_complete(config, candidates, len(base.anchors))
    if not len(rows):
        return
    asked = _asked_by_name(config)
    run.tell(f"computing {', '.join(asked)} of {len(rows)} scored candidates")
    logger.info("%s of %d candidates that are scored already", ", ".join(asked), len(rows))
    tokens_per_s, score = run.manifest["calibration"]["tokens_per_s"], config.score
    max_tokens = tokens_per_s * score.block_s
    cost_N = candidates.num_tokens_N[rows]
    max_rows = most_rows(score.block_rows, len(base.anchors))
    plan = plan_blocks(cost_N, max_tokens, max_rows, workers.num_workers)
    blocks = [Block(candidates.places(rows[index]), signals=True, scores=False) for index in plan]
    progress = make_progress(run, len(rows), 0, config, workers)
    with (
        timed(run, progress, 0),
        ScorerPool(run, setup, ray.put(base), workers, progress, len(blocks) + len(rows)) as pool,
    ):
        pool.run(blocks)
        left = _lacking_rows(config.out_dir, candidates, asked, len(base.anchors))
        alone = [
            Block(candidates.places(left[i : i + 1]), signals=True, scores=False)
            for i in range(len(left))
        ]
        pool.run(alone)
    lost = _lacking_rows(config.out_dir, candidates, asked, len(base.anchors))
    if len(lost):
        logger.warning(
            "%d scored candidates have no %s: the workers that computed them died; the same "
            "command tries them again",
            *(len(lost), " or ".join(asked)),
        )


def rows_to_complete(config: Config, candidates: CandidateIds, num_anchors: int) -> np.ndarray:
    """Scored candidates that lack a signal asked by name: their rows, each content once."""
    asked = _asked_by_name(config)
    return _lacking_rows(config.out_dir, candidates, asked, num_anchors)


def lack_signals(config: Config, content_ids: np.ndarray, num_anchors: int) -> np.ndarray:
    """Which of these rows are to tell something beside their scores and have not yet, (n,) bool:
    each does the first time that it meets the model."""
    asked = wanted(config.signals, config.score.backend)
    return lacking(config.out_dir, content_ids, asked, num_anchors)


def _asked_by_name(config: Config) -> tuple[str, ...]:
    return wanted([name for name in config.signals if name != "auto"], config.score.backend)


def _lacking_rows(
    out_dir: str, candidates: CandidateIds, asked: tuple[str, ...], num_anchors: int
) -> np.ndarray:
    """The scored candidates, each content once, that have not been asked for all of `asked`."""
    is_scored_N = is_among(candidates.example_id_N, scored_ids(out_dir).tolist())
    is_asked_N = lacking(out_dir, candidates.content_id_N, asked, num_anchors)
    return np.flatnonzero(~candidates.is_duplicate_N & is_scored_N & is_asked_N)
