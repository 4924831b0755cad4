"""The main job: score every candidate against every anchor on Ray, resumably, into the run folder.

prepare -> anchors and baseline -> blocks of candidates over the workers -> compacted scores. Each
step skips what is done: the candidates still to score are those without a row in scores/ or
skipped.parquet.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import ray

from nuggets_ray.anchors.file import load_examples
from nuggets_ray.config.schema import Config
from nuggets_ray.data.formats import resolve_format
from nuggets_ray.data.inputs import list_inputs
from nuggets_ray.model.load import load_tokenizer, resolve_dtype, resolve_path
from nuggets_ray.model.vllm import check_installed
from nuggets_ray.model.weights.headers import check_weights
from nuggets_ray.prompts.prompt import Prompt, make_prompt
from nuggets_ray.run import candidates as candidate_table
from nuggets_ray.run import scores, skipped
from nuggets_ray.run.candidates import CandidateIds, is_among, read_candidate_ids
from nuggets_ray.run.job_configs import write_config
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.scores import num_scored_by
from nuggets_ray.run.skipped import LeftOut
from nuggets_ray.schedule.full import plan_blocks
from nuggets_ray.score.fingerprint import settings_fingerprint
from nuggets_ray.score.limits import demonstration_limit
from nuggets_ray.score.one_shot import ZeroShot
from nuggets_ray.select import OUR_COLUMNS, check_clash
from nuggets_ray.stages.cluster.workers import Workers, check_shared_folder, connected, on_worker
from nuggets_ray.stages.score.anchors import anchors_with_zero_shot, claim
from nuggets_ray.stages.score.blocks import Block, run_blocks
from nuggets_ray.stages.score.finish import finish
from nuggets_ray.stages.score.prepare import prepare
from nuggets_ray.stages.score.progress import Counter, Progress
from nuggets_ray.stages.score.worker import Setup

logger = logging.getLogger(__name__)

LOST = "error: Ray lost its block"
"""Reason of a row that no worker died of and none answered for."""


def score(config: Config) -> dict[str, Any]:
    """Score the instruction data of `config` into `config.out_dir`; the same call goes on where an
    earlier one ended.

    Returns {wrote, status, num_rows, num_scored, num_skipped, num_excluded}. Raises UserError for
    what the user can mend, before a model is loaded wherever that can be told.
    """
    check_inputs(config)
    resolved = replace(config, model=replace(config.model, path=resolve_path(config.model)))
    with Run(config.out_dir, "score") as run, connected(config.cluster) as workers:
        return _score(resolved, config, run, workers)


def check_inputs(config: Config) -> None:
    """Raise UserError for data, anchors, a tokenizer or weights that are not there or not whole,
    before Ray starts.
    """
    logger.info("checking data, anchors, tokenizer and weights")
    list_inputs(config.data.path)
    if config.data.columns:
        resolve_format(config.data.format, config.data.columns, [])
    if config.anchors.method == "file":
        load_examples(config.anchors)
    make_prompt(load_tokenizer(config.model), config.prompt)
    check_weights(config.model, any_architecture=config.score.backend == "vllm")


def check_fields(config: Config) -> None:
    """Raise UserError for candidates with a field that selecting them would write too."""
    ours = [config.select.prefix + name for name in OUR_COLUMNS]
    check_clash(candidate_table.fields_like(config.out_dir, ours), config.select.prefix)


def make_setup(config: Config, attempt_id: str, workers: Workers, prompt: Prompt) -> Setup:
    """What the workers need, but for the data's format, which reading the data tells."""
    template, device = prompt.name, workers.device
    dtype = on_worker(workers, resolve_dtype, config.score.dtype, template, device)
    if config.score.backend == "vllm":
        on_worker(workers, check_installed, device)
    return Setup(
        config,
        attempt_id,
        workers.device,
        dtype,
        config.data.format,
        config.prompt.max_demonstration_tokens,
        workers.gpus_per_worker,
    )


def _score(config: Config, given: Config, run: Run, workers: Workers) -> dict[str, Any]:
    """`given` is the user's configuration, `config` the same with the model's path resolved."""
    tokenizer = load_tokenizer(config.model)
    prompt = make_prompt(tokenizer, config.prompt)
    setup = make_setup(config, run.attempt_id, workers, prompt)
    logger.info("prompt=%s (prompt.template=%s)", prompt.name, config.prompt.template)
    logger.info("%d workers on %s in %s", workers.num_workers, workers.device, setup.dtype)
    claim(run, settings_fingerprint(config, prompt, tokenizer, setup.dtype))
    write_config(config.out_dir, "score", given)
    check_shared_folder(config.out_dir)
    prepared = prepare(config, run.attempt_id)
    setup = replace(setup, data_format=prepared.format)
    files = [asdict(file) for file in prepared.inputs]
    run.manifest |= {"inputs": files, "data_format": prepared.format}
    check_fields(config)
    candidates = read_candidate_ids(config.out_dir)
    _count_killed_attempts(run)
    base = anchors_with_zero_shot(run, setup, prompt, candidates, workers)
    setup = replace(setup, max_demonstration_tokens=demonstration_limit(config, base.max_tokens))
    given_up = skipped.given_up(config.out_dir)
    again = {i: why for i, why in given_up.items() if why.is_tried_again(config.data.retry)}
    unscored = {i: why for i, why in given_up.items() if i not in again}
    if config.anchors.exclude_from_candidates:
        unscored |= {anchor.content_id: LeftOut("is_anchor") for anchor in base.anchors}
    is_first_N = ~candidates.is_duplicate_N
    is_done_N = is_among(candidates.content_id_N, scores.scored_ids(config.out_dir))
    is_todo_N = is_first_N & ~is_done_N & ~is_among(candidates.content_id_N, unscored)
    is_again_N = is_todo_N & is_among(candidates.content_id_N, again)
    num_reused = int((is_first_N & is_done_N).sum())
    run.update(num_workers=workers.num_workers, num_reused=num_reused, num_computed=0)
    if not is_todo_N.any():
        logger.info("nothing is left to score")
    else:
        _tell_again(candidates.content_id_N[is_again_N], again)
        todo = (np.flatnonzero(is_todo_N & ~is_again_N), np.flatnonzero(is_again_N))
        reasons = _score_rows(run, setup, candidates, *todo, base, workers)
        unscored |= skipped.give_up(reasons, again)
    return finish(run, setup, prompt, prepared, candidates, base, unscored)


def _count_killed_attempts(run: Run) -> None:
    """Complete the books of attempts that could not: what they computed is what they wrote."""
    for attempt in run.manifest["stages"]["score"]["attempts"]:
        if attempt["status"] == "killed":
            written = num_scored_by(run.out_dir, attempt["attempt_id"])
            attempt["num_computed"] = max(attempt.get("num_computed", 0), written)


def _tell_again(content_id_N: np.ndarray, again: Mapping[str, LeftOut]) -> None:
    if len(content_id_N):
        reasons = skipped.count_kinds(again[str(content_id)] for content_id in content_id_N)
        logger.warning(
            "%d candidates that an earlier attempt gave up (%s) are tried once more, one by one, "
            "after the others (data.retry)",
            *(len(content_id_N), reasons),
        )


def _score_rows(
    run: Run,
    setup: Setup,
    candidates: CandidateIds,
    rows: np.ndarray,
    again: np.ndarray,
    base: ZeroShot,
    workers: Workers,
) -> dict[str, str]:
    """Score the candidates at `rows` in blocks, then those at `again` one by one; {content_id:
    reason} of those that cannot be.
    """
    config = setup.config
    cost_N = candidates.num_tokens_N[rows] + base.num_tokens
    tokens_per_s = run.manifest["calibration"]["tokens_per_s"]
    num_tokens = float(cost_N.sum()) + (candidates.num_tokens_N[again] + base.num_tokens).sum()
    run.update(predicted_s=round(num_tokens / tokens_per_s / workers.num_workers, 1))
    plan = plan_blocks(
        cost_N, tokens_per_s * config.score.block_s, config.score.block_rows, workers.num_workers
    )
    num_reused = run.attempt["num_reused"]
    num_rows = num_reused + len(rows) + len(again)
    counter = Counter.remote()  # type: ignore[attr-defined]  # made by the decorator
    progress = Progress(run, counter, num_rows, num_reused, config.progress_s)
    baseline_ref = ray.put(base)
    started = time.monotonic()
    try:
        blocks = [_block(candidates, rows[index]) for index in plan]
        unscored = run_blocks(run, setup, blocks, baseline_ref, workers, progress)
        left = _unanswered(setup, candidates, rows, unscored)
        num_killed = len(left) + list(unscored.values()).count("killed_worker")
        if num_killed == len(rows) and len(blocks) > 1:
            raise RuntimeError(
                f"every worker died on each of {len(blocks)} blocks, before it finished one: see "
                "Ray's logs; mostly the host's memory is too small for cluster.num_workers replicas"
            )
        if len(left):
            logger.warning(
                "%d candidates were in blocks that killed their worker: again one by one", len(left)
            )
        # one a block: the death of a process is then the row's own
        alone = np.concatenate([left, again])
        blocks = [_block(candidates, alone[i : i + 1]) for i in range(len(alone))]
        unscored |= run_blocks(run, setup, blocks, baseline_ref, workers, progress)
        lost = _unanswered(setup, candidates, alone, unscored)
        unscored |= dict.fromkeys(candidates.content_id_N[lost].tolist(), LOST)
        progress.num_skipped += len(lost)
    except KeyboardInterrupt:
        written = num_scored_by(config.out_dir, run.attempt_id)
        logger.warning("%d of %d candidates are written", num_reused + written, progress.num_rows)
        raise
    finally:
        progress.close()
        run.update(actual_s=round(time.monotonic() - started, 1))
    return unscored


def _block(candidates: CandidateIds, rows: np.ndarray) -> Block:
    """Where the candidates at `rows` lie: [(candidate part, row numbers within it)]."""
    places = []
    for part in np.unique(candidates.part_N[rows]):
        numbers = candidates.row_N[rows[candidates.part_N[rows] == part]]
        places.append((candidates.parts[part], numbers.tolist()))
    return places


def _unanswered(
    setup: Setup, candidates: CandidateIds, rows: np.ndarray, unscored: dict[str, str]
) -> np.ndarray:
    """Those of `rows` that came back neither with a score nor with a reason."""
    ids_N = candidates.content_id_N[rows]
    is_scored_N = is_among(ids_N, scores.scored_ids(setup.config.out_dir))
    unanswered: np.ndarray = rows[~is_scored_N & ~is_among(ids_N, unscored)]
    return unanswered
