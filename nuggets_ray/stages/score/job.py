"""The main job: score every candidate against every anchor on Ray, resumably, into the run folder.

prepare -> anchors and baseline -> blocks of candidates over the workers -> compacted scores. Each
step skips what is done: the candidates still to score are those without a row in scores/ or
skipped.parquet.
"""

import logging
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from nuggets_ray.config.schema import Config
from nuggets_ray.model.load import load_tokenizer, resolve_dtype, resolve_model
from nuggets_ray.model.vllm import check_installed
from nuggets_ray.prepare.told import reading_lines
from nuggets_ray.prompts.prompt import Prompt, make_prompt, warn_of_template
from nuggets_ray.run.accounts import (
    Accounts,
    account,
    check_accounts,
    count_killed_attempts,
    near_tie_fraction,
)
from nuggets_ray.run.added import finish_swap
from nuggets_ray.run.candidates import CandidateIds, is_among, read_candidate_ids
from nuggets_ray.run.claim import claim
from nuggets_ray.run.job_configs import write_config
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.preview import NUM_CANDIDATES, write_preview
from nuggets_ray.run.promise import promise_lines
from nuggets_ray.run.scores import compact_scores, complete_ids
from nuggets_ray.run.set_scores import write_set_scores
from nuggets_ray.run.signals import compact_signals
from nuggets_ray.run.skipped import count_kinds, give_up, read_skipped, rewrite_skipped
from nuggets_ray.schedule.todo import Todo, find_todo
from nuggets_ray.score.checks import check_fields, check_inputs
from nuggets_ray.score.fingerprint import settings_fingerprint
from nuggets_ray.score.limits import demonstration_limit
from nuggets_ray.score.zero_shot import ZeroShot
from nuggets_ray.stages.cluster.workers import (
    Workers,
    check_shared_folder,
    on_worker,
    told_connected,
)
from nuggets_ray.stages.score.added import add_anchors
from nuggets_ray.stages.score.anchor_choice import settle_num
from nuggets_ray.stages.score.anchors import anchors_with_zero_shot
from nuggets_ray.stages.score.prepare import prepare
from nuggets_ray.stages.score.race import is_raced, race, write_posteriors
from nuggets_ray.stages.score.rows import score_rows
from nuggets_ray.stages.score.signals import complete_signals
from nuggets_ray.stages.score.worker import Setup

logger = logging.getLogger(__name__)


def score(config: Config) -> dict[str, Any]:
    """Score the instruction data of `config` into `config.out_dir`; the same call goes on where an
    earlier one ended.

    Returns {wrote, status, num_rows, num_scored, num_skipped, num_excluded}. Raises UserError for
    what the user can mend, before a model is loaded wherever that can be told.
    """
    check_inputs(config)
    resolved = replace(config, model=resolve_model(config.model))
    with Run(config.out_dir, "score") as run, told_connected(run, config.cluster) as workers:
        return _score(resolved, config, run, workers)


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
    warn_of_template(prompt)
    logger.info("%d workers on %s in %s", workers.num_workers, workers.device, setup.dtype)
    finish_swap(config.out_dir)
    claim(run, settings_fingerprint(config, prompt, tokenizer, setup.dtype))
    write_config(config.out_dir, "score", given)
    check_shared_folder(config.out_dir)
    run.tell("reading and checking the rows")
    prepared = prepare(config, run.attempt_id)
    for line in reading_lines(prepared, read_skipped(config.out_dir)):
        logger.info("%s", line)
    setup = replace(setup, data_format=prepared.format)
    files = [asdict(file) for file in prepared.inputs]
    run.manifest |= {"inputs": files, "data_format": prepared.format}
    check_fields(config.out_dir, config.select.prefix)
    candidates = read_candidate_ids(config.out_dir)
    config = settle_num(run, config, candidates)
    setup = replace(setup, config=config)
    write_config(config.out_dir, "score", replace(given, anchors=config.anchors))
    count_killed_attempts(run)
    setup, base = _anchors(run, setup, prompt, candidates, workers)
    is_excluded = config.anchors.exclude_from_candidates
    excluded_ids = [anchor.content_id for anchor in base.anchors] if is_excluded else []
    todo = find_todo(config.out_dir, candidates, excluded_ids, config.data.retry)
    run.update(num_workers=workers.num_workers, num_reused=todo.num_reused, num_computed=0)
    reasons = _score_what_is_left(run, setup, candidates, todo, base, prompt, workers)
    left_out = {**todo.left_out, **give_up(reasons, todo.again)}
    complete_signals(run, setup, candidates, base, workers)
    run.tell("putting the scores together")
    compact_scores(config.out_dir, run.attempt_id, candidates.copies())
    compact_signals(config.out_dir, run.attempt_id)
    rewrite_skipped(config.out_dir, left_out, config.data.excerpt_chars)
    write_posteriors(run, config, candidates, replace(todo, left_out=left_out), base, prompt)
    write_set_scores(config.out_dir)
    accounts = account(config.out_dir, prepared.num_rows, candidates, left_out)
    check_accounts(accounts, left_out, config.data)
    is_complete_N = is_among(candidates.example_id_N, complete_ids(config.out_dir))
    _preview(setup, prompt, candidates, is_complete_N, base)
    return _finish(run, accounts, base, setup.dtype)


def _anchors(
    run: Run, setup: Setup, prompt: Prompt, candidates: CandidateIds, workers: Workers
) -> tuple[Setup, ZeroShot]:
    """The anchors that every scored row has met, those that are added among them."""
    config = setup.config
    while True:
        base, num_met = anchors_with_zero_shot(run, setup, prompt, candidates, workers)
        limit = demonstration_limit(config.model, config.score, config.prompt, base.max_tokens)
        setup = replace(setup, max_demonstration_tokens=limit)
        if num_met == len(base.anchors):
            return setup, base
        add_anchors(run, setup, candidates, base, num_met, prompt, workers)


def _score_what_is_left(
    run: Run,
    setup: Setup,
    candidates: CandidateIds,
    todo: Todo,
    base: ZeroShot,
    prompt: Prompt,
    workers: Workers,
) -> dict[str, str]:
    """Score the candidates of `todo`; {content_id: reason} of those that cannot be."""
    if not todo.is_todo_N.any():
        logger.info("nothing is left to score")
        return {}
    again_ids = candidates.content_id_N[todo.is_again_N].tolist()
    if again_ids:
        logger.warning(
            "%d candidates that an earlier attempt gave up (%s) are tried once more, one by one, "
            "after the others (data.retry)",
            *(len(again_ids), count_kinds(todo.again[content_id] for content_id in again_ids)),
        )
    if is_raced(run, setup.config, candidates, todo, base):
        return race(run, setup, candidates, todo, base, prompt, workers)
    return score_rows(run, setup, candidates, todo, base, workers)


def _preview(
    setup: Setup,
    prompt: Prompt,
    candidates: CandidateIds,
    is_complete_N: np.ndarray,
    base: ZeroShot,
) -> None:
    out_dir, rules = setup.config.out_dir, setup.rules
    rows = np.flatnonzero(is_complete_N)[:NUM_CANDIDATES]
    originals = {str(candidates.example_id_N[row]): candidates.read_row(row) for row in rows}
    examples = {i: rules.parse(row) for i, row in originals.items()}
    anchors, limit = base.anchors, setup.max_demonstration_tokens
    write_preview(out_dir, examples, anchors, base.zero_shot_A, prompt, limit, setup.dtype)


def _finish(run: Run, accounts: Accounts, base: ZeroShot, dtype: str) -> dict[str, Any]:
    """Complete the manifest and return the job's summary."""
    counts = {
        "num_rows": accounts.num_rows,
        "num_scored": accounts.num_scored,
        "num_skipped": accounts.num_skipped,
        "num_excluded": accounts.num_excluded,
    }
    run.manifest["counts"] = counts
    near_ties = near_tie_fraction(run.out_dir)
    if near_ties is not None:
        logger.info(
            "%.1f%% of the decisions are near ties: |delta| within what %s can move it (%.2g nats "
            "on the median anchor)",
            *(100 * near_ties, dtype, np.median(base.noise_band_nats)),
        )
    logger.info("scored %d of %d rows in %s", accounts.num_scored, accounts.num_rows, run.out_dir)
    for line in promise_lines(run.manifest.get("race", {})):
        logger.info("race: %s", line)
    folder = RunFolder(run.out_dir)
    wrote = [folder.scores, folder.anchors, folder.skipped, folder.preview, folder.manifest]
    return {"wrote": wrote, "status": "done", **counts}
