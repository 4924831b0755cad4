"""Score the candidates that are left: in blocks of equal work, then one by one what no worker
answered for.
"""

import logging
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import ray

from nuggets_ray.config.schema import Config
from nuggets_ray.run.candidates import CandidateIds
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.scores import num_scored_by
from nuggets_ray.schedule.full import most_rows, plan_blocks
from nuggets_ray.schedule.todo import Todo, unanswered
from nuggets_ray.score.zero_shot import ZeroShot
from nuggets_ray.stages.cluster.workers import Workers, named_actor
from nuggets_ray.stages.score.pool import Block, ScorerPool
from nuggets_ray.stages.score.progress import Counter, Progress
from nuggets_ray.stages.score.worker import Setup

logger = logging.getLogger(__name__)

LOST = "error: Ray lost its block"
"""Reason of a row that no worker died of and none answered for."""


@dataclass(frozen=True, slots=True)
class RowsAsked:
    """Candidates to compute: `rows` in blocks, `again` one by one, on `anchors` (none: on all, as
    rows of scores/). `num_reused` are there already; `unanswered(rows, unscored)` gives those of
    `rows` that came back neither with an answer nor among `unscored` (content_ids); `num_written`
    counts what this attempt wrote, where that is no rows of scores/.
    """

    rows: np.ndarray
    again: np.ndarray
    anchors: tuple[int, ...]
    num_reused: int
    unanswered: Callable[[np.ndarray, Collection[str]], np.ndarray]
    num_written: Callable[[], int] | None = None


def score_rows(
    run: Run,
    setup: Setup,
    candidates: CandidateIds,
    todo: Todo,
    base: ZeroShot,
    workers: Workers,
) -> dict[str, str]:
    """Score the candidates of `todo` in blocks, then those that were given up before, one by one;
    {content_id: reason} of those that cannot be scored.
    """
    rows = np.flatnonzero(todo.is_todo_N & ~todo.is_again_N)
    again = np.flatnonzero(todo.is_again_N)
    left = partial(unanswered, setup.config.out_dir, candidates)
    return compute(
        run, setup, candidates, RowsAsked(rows, again, (), todo.num_reused, left), base, workers
    )


def compute(
    run: Run,
    setup: Setup,
    candidates: CandidateIds,
    asked: RowsAsked,
    base: ZeroShot,
    workers: Workers,
) -> dict[str, str]:
    """Compute what is asked, and once more one by one what no worker answered for; {content_id:
    reason} of those that cannot be computed."""
    config, rows, again = setup.config, asked.rows, asked.again
    anchors = base.take(asked.anchors) if asked.anchors else base
    cost_N = candidates.num_tokens_N[rows] + anchors.num_tokens
    tokens_per_s = run.manifest["calibration"]["tokens_per_s"]
    num_tokens = float(cost_N.sum()) + (candidates.num_tokens_N[again] + anchors.num_tokens).sum()
    run.update(predicted_s=round(num_tokens / tokens_per_s / workers.num_workers, 1))
    max_tokens = tokens_per_s * config.score.block_s
    max_rows = most_rows(config.score.block_rows, len(anchors.anchors))
    plan = plan_blocks(cost_N, max_tokens, max_rows, workers.num_workers)
    num_rows = asked.num_reused + len(rows) + len(again)
    what = f" on {len(asked.anchors)} added anchors" if asked.anchors else ""
    num_blocks = len(plan) + len(again)
    run.tell(f"scoring {len(rows) + len(again)} candidates{what} in {num_blocks} blocks")
    progress = make_progress(run, num_rows, asked.num_reused, config, workers)

    def block(of: np.ndarray) -> Block:
        # anchors that are added meet rows that have told their signals
        has_signals = bool(setup.signals) and not asked.anchors
        return Block(candidates.places(of), anchors=asked.anchors, signals=has_signals)

    with (
        timed(run, progress, asked.num_reused, asked.num_written),
        ScorerPool(run, setup, ray.put(base), workers, progress, num_blocks) as pool,
    ):
        unscored = pool.run([block(rows[index]) for index in plan])
        left = asked.unanswered(rows, unscored)
        check_deaths(unscored, len(left), len(rows), len(plan))
        # one a block: the death of a process is then the row's own
        alone = np.concatenate([left, again])
        unscored |= pool.run([block(alone[i : i + 1]) for i in range(len(alone))])
        lost = asked.unanswered(alone, unscored)
        unscored |= dict.fromkeys(candidates.content_id_N[lost].tolist(), LOST)
        progress.num_skipped += len(lost)
    return unscored


def make_progress(
    run: Run, num_rows: int, num_reused: int, config: Config, workers: Workers
) -> Progress:
    """The progress of `num_rows` candidates, and the counter that the workers tell."""
    # an attempt may have several in turn, and Ray frees the name of the last one late
    name = f"nuggets_progress_of_scoring_{uuid.uuid4().hex[:6]}"
    counter = named_actor(Counter, name, run).remote()
    sizes = (workers.num_workers, workers.most)
    return Progress(run, counter, num_rows, num_reused, config.progress_s, *sizes)


@contextmanager
def timed(
    run: Run,
    progress: Progress,
    num_reused: int,
    num_written: Callable[[], int] | None = None,
) -> Iterator[None]:
    """Close the progress at the end, whatever it is, record the seconds it took; an interrupted run
    says what is written: rows of scores/, or what `num_written` counts in this attempt."""
    started = time.monotonic()
    try:
        yield
    except KeyboardInterrupt:
        new = num_written() if num_written else num_scored_by(run.out_dir, run.attempt_id)
        logger.warning("%d of %d candidates are written", num_reused + new, progress.num_rows)
        raise
    finally:
        progress.close()
        run.update(actual_s=round(time.monotonic() - started, 1))


def check_deaths(
    unscored: Mapping[str, str], num_left: int, num_rows: int, num_blocks: int
) -> None:
    """Raise RuntimeError where each of several blocks killed its worker; tell what some left."""
    num_killed = num_left + list(unscored.values()).count("killed_worker")
    if num_killed == num_rows and num_blocks > 1:
        raise RuntimeError(
            f"every worker died on each of {num_blocks} blocks, before it finished one: see "
            "Ray's logs; mostly the host's memory is too small for cluster.num_workers replicas"
        )
    if num_left:
        logger.warning(
            "%d candidates were in blocks that killed their worker: again one by one", num_left
        )
