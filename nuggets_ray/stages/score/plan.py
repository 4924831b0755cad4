"""What a scoring run would do, cost, skip and cut, before it costs anything: a page of text and
plan.json.

Reading the data is the run's own first step, and what it writes is kept for the run. A 20-second
calibration on one replica turns tokens into hours. Nothing is scored.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nuggets_ray.config.schema import Config
from nuggets_ray.io import write_json
from nuggets_ray.model.load import load_tokenizer, resolve_model
from nuggets_ray.model.size import model_size
from nuggets_ray.prepare.prepared import Prepared
from nuggets_ray.prompts.prompt import Prompt, make_prompt, warn_of_template
from nuggets_ray.records import Anchor
from nuggets_ray.run.anchors import read_known
from nuggets_ray.run.candidates import CandidateIds, is_among, read_candidate_ids
from nuggets_ray.run.funnel import read_funnel
from nuggets_ray.run.job_configs import write_config
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.scores import complete_ids, score_parts
from nuggets_ray.run.skipped import read_skipped
from nuggets_ray.schedule.todo import find_todo
from nuggets_ray.score import plan as facts
from nuggets_ray.score.calibrate import spread_rows
from nuggets_ray.score.checks import check_fields, check_inputs
from nuggets_ray.score.fingerprint import settings_fingerprint
from nuggets_ray.score.limits import context_tokens, demonstration_limit
from nuggets_ray.score.memory import replica_memory
from nuggets_ray.score.plan_race import Pairs, explore_facts, race_facts, race_hint
from nuggets_ray.stages.cluster.workers import Workers, check_shared_folder, connected
from nuggets_ray.stages.score.anchor_choice import choose_anchors, settle_num
from nuggets_ray.stages.score.anchors import measure
from nuggets_ray.stages.score.job import make_setup
from nuggets_ray.stages.score.prepare import prepare
from nuggets_ray.stages.score.signals import rows_to_complete
from nuggets_ray.stages.score.worker import Setup

CALIBRATION_S = 20.0
NUM_CALIBRATION_CANDIDATES = 16


def plan(config: Config) -> dict[str, Any]:
    """Read the data, choose the anchors, calibrate; print the plan and write plan.json.

    Returns {wrote, status, num_rows, ...}. Raises UserError where the run itself would, before it
    would load a model.
    """
    check_inputs(config)
    config = replace(config, model=resolve_model(config.model))
    with Run(config.out_dir, "plan") as run, connected(config.cluster) as workers:
        write_config(config.out_dir, "plan", config)
        check_shared_folder(config.out_dir)
        tokenizer = load_tokenizer(config.model)
        prompt = make_prompt(tokenizer, config.prompt)
        warn_of_template(prompt)
        setup = make_setup(config, run.attempt_id, workers, prompt)
        is_scored = bool(score_parts(config.out_dir))
        if is_scored:  # under other settings nothing is touched, and the anchors are kept
            run.set_fingerprint(settings_fingerprint(config, prompt, tokenizer, setup.dtype))
        prepared = prepare(config, run.attempt_id)
        check_fields(config.out_dir, config.select.prefix)
        candidates = read_candidate_ids(config.out_dir)
        config = settle_num(run, config, candidates)
        setup = replace(setup, config=config, data_format=prepared.format)
        known = read_known(config.out_dir)[0] if is_scored else []
        anchors = choose_anchors(run, setup, prompt, candidates, workers, known)
        max_tokens = max(anchor.encoding.num_tokens for anchor in anchors)
        limit = demonstration_limit(config.model, config.score, config.prompt, max_tokens)
        setup = replace(setup, max_demonstration_tokens=limit)
        sections = _facts(run, setup, prompt, prepared, candidates, anchors, len(known), workers)
    print(facts.format_facts(sections))
    uri = RunFolder(config.out_dir).plan
    write_json(uri, sections)
    return {"wrote": [uri], "status": "done", "num_rows": prepared.num_rows}


def _facts(
    run: Run,
    setup: Setup,
    prompt: Prompt,
    prepared: Prepared,
    candidates: CandidateIds,
    anchors: Sequence[Anchor],
    num_met: int,
    workers: Workers,
) -> dict[str, facts.Facts]:
    """Measure a replica, and put together what is known of the run, whose scored rows have met the
    first `num_met` anchors."""
    config, limit = setup.config, setup.max_demonstration_tokens
    sample = _sample(setup, prompt, candidates)
    measured = measure(setup, anchors, prompt, workers, sample, CALIBRATION_S)
    size = model_size(config.model)
    predicted = None
    if config.score.backend == "transformers":
        longest = min(int(candidates.num_tokens_N.max()), limit)
        request = facts.replica_request(
            setup.dtype,
            setup.device,
            measured.engine["max_pack_tokens"],
            longest,
            anchors,
            measured.engine.get("speed", {}).get("gpu_attention", "merge"),
        )
        predicted = replica_memory(config.model, request)
    is_excluded = config.anchors.exclude_from_candidates
    excluded_ids = [anchor.content_id for anchor in anchors] if is_excluded else []
    fits_N = facts.fits_context(candidates, limit, config.data.on_too_long)
    todo = find_todo(config.out_dir, candidates, excluded_ids, config.data.retry)
    todo_tokens_N = np.minimum(candidates.num_tokens_N[todo.is_todo_N & fits_N], limit)
    is_scored_N = is_among(candidates.example_id_N, complete_ids(config.out_dir))
    num_scored = int(is_scored_N.sum())
    scored_tokens_N = candidates.num_tokens_N[is_scored_N & ~candidates.is_duplicate_N & fits_N]
    added = facts.Passes(np.minimum(scored_tokens_N, limit), anchors[num_met:])
    context = context_tokens(config.model, config.score)
    per_worker = workers.gpus_per_worker or workers.cpus_per_worker
    hardware = facts.Hardware(workers.num_workers, workers.device, per_worker)
    price = config.plan.price_per_hour
    sections = {
        "data": facts.data_facts(prepared, read_skipped(config.out_dir)),
        "prompt": facts.prompt_facts(config.prompt, prompt, context),
        "demonstrations": facts.demonstration_facts(candidates, limit, fits_N),
        "anchors": facts.anchor_facts(anchors, candidates, fits_N, is_excluded),
        "out_dir": facts.out_dir_facts(config.out_dir, num_scored, run.manifest.get("fingerprint")),
        "memory": facts.memory_facts(predicted, size, measured, hardware),
        "cost": facts.cost_facts(
            todo_tokens_N,
            anchors,
            size,
            measured,
            hardware,
            price,
            added if num_met and added.anchors else None,
        ),
    }
    lacking = rows_to_complete(config, candidates, len(anchors))
    lacking_tokens_N = np.minimum(candidates.num_tokens_N[lacking], limit)
    sections["cost"] |= facts.signal_facts(setup.signals, todo_tokens_N, lacking_tokens_N)
    can_race_N = ~candidates.is_duplicate_N & fits_N
    can_race_N &= ~is_among(candidates.content_id_N, todo.left_out)
    tokens_N = np.minimum(candidates.num_tokens_N[can_race_N], limit)
    pairs = Pairs(tokens_N, anchors, measured, hardware)
    if config.schedule.name == "race":
        funnel = read_funnel(config.out_dir, run.manifest)
        sections["cost"] = {"of": "full scoring", **sections["cost"]}
        sections["race"] = race_facts(config.race, config.select, pairs, price, funnel)
    elif config.schedule.name == "explore":
        num_met = config.explore.num_anchors
        sections["cost"] = {"of": "full scoring", **sections["cost"]}
        sections["explore"] = explore_facts(config.race, config.select, num_met, pairs, price)
    elif hint := race_hint(config.race, config.select, pairs):
        sections["cost"]["a race"] = hint
    return sections


def _sample(setup: Setup, prompt: Prompt, candidates: CandidateIds) -> list[np.ndarray]:
    """Demonstrations of candidates spread evenly over the lengths, in token ids."""
    sample = []
    for row in spread_rows(candidates.num_tokens_N, NUM_CALIBRATION_CANDIDATES):
        example = setup.rules.parse(candidates.read_row(row))
        sample.append(prompt.demonstration(example, setup.max_demonstration_tokens).token_ids)
    return sample
