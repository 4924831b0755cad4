"""What a scoring run would do, cost, skip and cut, before it costs anything: a page of text and
plan.json.

Reading the data is the run's own first step, and what it writes is kept for the run. A 20-second
calibration on one replica turns tokens into hours. Nothing is scored.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import psutil
import pyarrow.compute as pc

from nuggets_ray.config.schema import Config
from nuggets_ray.data.formats import parse
from nuggets_ray.io import write_json
from nuggets_ray.model.load import load_tokenizer, resolve_path
from nuggets_ray.model.size import ModelSize, model_size
from nuggets_ray.prepare.prepared import Prepared
from nuggets_ray.prompts.prompt import Prompt, make_prompt
from nuggets_ray.records import Anchor
from nuggets_ray.run import scores
from nuggets_ray.run import skipped as skipped_table
from nuggets_ray.run.anchors import read_anchors
from nuggets_ray.run.candidates import (
    CandidateIds,
    is_among,
    read_candidate_ids,
    read_candidate_rows,
)
from nuggets_ray.run.job_configs import write_config
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run, read_manifest
from nuggets_ray.run.scores import score_parts
from nuggets_ray.run.skipped import read_skipped
from nuggets_ray.score.engine import DEFAULT_PACK_TOKENS
from nuggets_ray.score.fingerprint import settings_fingerprint
from nuggets_ray.score.limits import context_tokens, demonstration_limit
from nuggets_ray.score.memory import Request, replica_memory
from nuggets_ray.stages.cluster.workers import Workers, check_shared_folder, connected
from nuggets_ray.stages.score.anchors import Measured, choose_anchors, measure
from nuggets_ray.stages.score.job import check_fields, check_inputs, make_setup
from nuggets_ray.stages.score.prepare import prepare
from nuggets_ray.stages.score.worker import Setup

CALIBRATION_S = 20.0
NUM_CALIBRATION_CANDIDATES = 16
NUM_EXAMPLES = 2
"""Skipped rows that are shown for each reason."""


def plan(config: Config) -> dict[str, Any]:
    """Read the data, choose the anchors, calibrate; print the plan and write plan.json.

    Returns {wrote, status, num_rows, ...}. Raises UserError where the run itself would, before it
    would load a model.
    """
    check_inputs(config)
    config = replace(config, model=replace(config.model, path=resolve_path(config.model)))
    with Run(config.out_dir, "plan") as run, connected(config.cluster) as workers:
        write_config(config.out_dir, "plan", config)
        check_shared_folder(config.out_dir)
        tokenizer = load_tokenizer(config.model)
        prompt = make_prompt(tokenizer, config.prompt)
        setup = make_setup(config, run.attempt_id, workers, prompt)
        is_scored = bool(score_parts(config.out_dir))
        if is_scored:  # under other settings nothing is touched, and the anchors are kept
            run.set_fingerprint(settings_fingerprint(config, prompt, tokenizer, setup.dtype))
        prepared = prepare(config, run.attempt_id)
        check_fields(config)
        candidates = read_candidate_ids(config.out_dir)
        setup = replace(setup, data_format=prepared.format)
        if is_scored and config.anchors.method != "file":
            anchors = read_anchors(RunFolder(config.out_dir).anchors)[0]
        else:
            anchors = choose_anchors(setup, prompt, candidates, workers)
        max_anchor_tokens = max(anchor.encoding.num_tokens for anchor in anchors)
        max_tokens = demonstration_limit(config, max_anchor_tokens)
        setup = replace(setup, max_demonstration_tokens=max_tokens)
        sample = _sample(setup, prompt, candidates)
        measured = measure(setup, anchors, prompt, workers, sample, CALIBRATION_S)
        size = model_size(config.model)
        facts = {
            "data": _data(config, prepared),
            "prompt": _prompt(config, prompt),
            "demonstrations": _demonstrations(setup, candidates),
            "anchors": _anchors(setup, anchors, candidates),
            "out_dir": _out_dir(config, candidates),
            "memory": _memory(setup, candidates, anchors, size, measured, workers),
            "cost": _cost(setup, candidates, anchors, size, measured, workers),
        }
    for title, section in facts.items():
        print(f"\n{title}")
        for key, value in section.items():
            print(f"  {key:<28}{_format_value(value)}")
    uri = RunFolder(config.out_dir).plan
    write_json(uri, facts)
    return {"wrote": [uri], "status": "done", "num_rows": prepared.num_rows}


def _sample(setup: Setup, prompt: Prompt, candidates: CandidateIds) -> list[np.ndarray]:
    """Demonstrations of candidates spread evenly over the lengths, in token ids."""
    by_length = np.argsort(candidates.num_tokens_N, kind="stable")
    num = min(NUM_CALIBRATION_CANDIDATES, len(by_length))
    # the middle of each of `num` equal shares, so that the mean length is the data's
    rows = by_length[((np.arange(num) + 0.5) * len(by_length) / num).astype(int)]
    sample = []
    for row in rows:
        part = candidates.parts[candidates.part_N[row]]
        [(_, original)] = read_candidate_rows(part, [int(candidates.row_N[row])])
        example = parse(original, setup.data_format, setup.config.data.columns)
        sample.append(prompt.demonstration(example, setup.max_demonstration_tokens).token_ids)
    return sample


def _data(config: Config, prepared: Prepared) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "files": len(prepared.inputs),
        "gib": sum(file.num_bytes for file in prepared.inputs) / 2**30,
        "format": prepared.format,
        "num_rows": prepared.num_rows,
        "num_candidates": prepared.num_candidates,
        "num_duplicates": prepared.num_duplicates,
        "num_held_out": prepared.num_excluded,
        "num_skipped": prepared.num_skipped,
    }
    skipped = read_skipped(config.out_dir)
    for reason, count in sorted(prepared.skipped_reasons.items()):
        rows = (
            skipped.filter(pc.equal(skipped["reason"], reason)).slice(0, NUM_EXAMPLES).to_pylist()
        )
        places = [f"row {row['row_number']} of {row['source_path']}" for row in rows]
        facts[f"skipped: {reason}"] = f"{count}, such as {'; '.join(places)}"
    return facts


def _prompt(config: Config, prompt: Prompt) -> dict[str, Any]:
    return {
        "template": f"{prompt.name} (prompt.template={config.prompt.template})",
        "max_demonstration_tokens": config.prompt.max_demonstration_tokens,
        "max_anchor_tokens": config.prompt.max_anchor_tokens,
        "model_context_tokens": context_tokens(config),
    }


def _demonstrations(setup: Setup, candidates: CandidateIds) -> dict[str, Any]:
    tokens_N = candidates.num_tokens_N
    fits_N = _fits(setup, candidates)
    is_cut_N = (candidates.num_dropped_tokens_N > 0) | (tokens_N > setup.max_demonstration_tokens)
    return {
        "mean_tokens": float(tokens_N.mean()),
        "median_tokens": float(np.median(tokens_N)),
        "p95_tokens": float(np.quantile(tokens_N, 0.95)),
        "max_tokens": int(tokens_N.max()),
        "limit_tokens": setup.max_demonstration_tokens,
        "num_truncated": int((is_cut_N & fits_N).sum()),
        "num_too_long_for_context": int((~fits_N).sum()),
    }


def _fits(setup: Setup, candidates: CandidateIds) -> np.ndarray:
    """Whether each demonstration has room in the context, cut where data.on_too_long says so,
    shape (N,).
    """
    fits_N = candidates.num_tokens_N <= setup.max_demonstration_tokens
    return fits_N | (setup.config.data.on_too_long == "truncate")


def _anchors(setup: Setup, anchors: Sequence[Anchor], candidates: CandidateIds) -> dict[str, Any]:
    is_anchor_N = is_among(candidates.content_id_N, [anchor.content_id for anchor in anchors])
    is_excluded = setup.config.anchors.exclude_from_candidates
    return {
        "num_anchors": len(anchors),
        "num_tokens": sum(anchor.encoding.num_tokens for anchor in anchors),
        "num_answer_tokens": sum(anchor.encoding.num_answer_tokens for anchor in anchors),
        "max_tokens": max(anchor.encoding.num_tokens for anchor in anchors),
        "num_truncated": sum(anchor.encoding.num_dropped_tokens > 0 for anchor in anchors),
        "num_self_pairs": 0 if is_excluded else int((is_anchor_N & _fits(setup, candidates)).sum()),
        "num_excluded": int(is_anchor_N.sum()) if is_excluded else 0,
    }


def _out_dir(config: Config, candidates: CandidateIds) -> dict[str, Any]:
    scored = is_among(candidates.example_id_N, scores.scored_ids(config.out_dir))
    scored_as = (read_manifest(config.out_dir) or {}).get("fingerprint")
    return {
        "path": config.out_dir,
        "seen by every node": True,
        "num_scored_already": int(scored.sum()),
        "scored_as": scored_as and f"{scored_as['dtype']}, {scored_as['template']}",
    }


def _memory(
    setup: Setup,
    candidates: CandidateIds,
    anchors: Sequence[Anchor],
    size: ModelSize | None,
    measured: Measured,
    workers: Workers,
) -> dict[str, Any]:
    predicted = None
    if setup.config.score.backend == "transformers":
        request = _request(setup, candidates, [anchor.encoding.num_tokens for anchor in anchors])
        predicted = replica_memory(setup.config.model, request)
    facts = {
        "parameters": size and size.num_parameters,
        "predicted_gib_a_worker": predicted and predicted.peak_bytes / 2**30,
        "peak_gib_a_worker": measured.peak_memory_gib,
        "num_workers": workers.num_workers,
    }
    if workers.device == "cpu":
        facts["available_gib_here"] = psutil.virtual_memory().available / 2**30
    return facts


def _request(setup: Setup, candidates: CandidateIds, anchor_tokens: Sequence[int]) -> Request:
    """What one replica would be asked for in the run, not in the calibration."""
    return Request(
        dtype=setup.dtype,
        device=setup.device,
        max_pack_tokens=setup.config.score.max_pack_tokens or DEFAULT_PACK_TOKENS[setup.device],
        demonstration_tokens=min(
            int(candidates.num_tokens_N.max()), setup.max_demonstration_tokens
        ),
        longest_anchor_tokens=max(anchor_tokens),
        num_anchor_tokens=sum(anchor_tokens),
    )


def _todo(setup: Setup, candidates: CandidateIds, anchors: Sequence[Anchor]) -> np.ndarray:
    """Whether a run would compute each candidate, shape (N,)."""
    config = setup.config
    given_up = skipped_table.given_up(config.out_dir)
    left_out = [i for i, why in given_up.items() if not why.is_tried_again(config.data.retry)]
    if config.anchors.exclude_from_candidates:
        left_out += [anchor.content_id for anchor in anchors]
    left_out += scores.scored_ids(config.out_dir).tolist()
    is_first_N = ~candidates.is_duplicate_N
    is_left_N = ~is_among(candidates.content_id_N, left_out)
    is_todo_N: np.ndarray = is_first_N & is_left_N & _fits(setup, candidates)
    return is_todo_N


def _cost(
    setup: Setup,
    candidates: CandidateIds,
    anchors: Sequence[Anchor],
    size: ModelSize | None,
    measured: Measured,
    workers: Workers,
) -> dict[str, Any]:
    """Every demonstration and anchor token once through the body, the head at answers only."""
    is_todo_N = _todo(setup, candidates, anchors)
    num_todo = int(is_todo_N.sum())
    num_anchor_tokens = sum(anchor.encoding.num_tokens for anchor in anchors)
    num_answer_tokens = sum(anchor.encoding.num_answer_tokens for anchor in anchors)
    tokens_N = np.minimum(candidates.num_tokens_N[is_todo_N], setup.max_demonstration_tokens)
    num_tokens = int(tokens_N.sum()) + num_todo * num_anchor_tokens
    flop = None
    if size is not None:
        body = 2 * (size.num_parameters - size.num_embedding_parameters) * num_tokens
        flop = float(body + 2 * size.num_head_weights * num_todo * num_answer_tokens)
    seconds = num_tokens / measured.tokens_per_s / workers.num_workers
    return {
        "num_candidates_to_score": num_todo,
        "num_passes": num_todo * len(anchors),
        "num_tokens": num_tokens,
        "flop": flop,
        "engine": f"{measured.engine['engine']}: {measured.engine['why']}",
        "tokens_per_s_a_worker": measured.tokens_per_s,
        "hours": seconds / 3600,
        "worker_hours": seconds * workers.num_workers / 3600,
        "workers": f"{workers.num_workers} on {workers.device}",
    }


def _format_value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1e6 else f"{value:.2e}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
