"""evaluate=likelihood: log-probs of the held-out answers under each model, on the scoring engine.

Kept a model under evaluation/likelihood/<model>.json, so that a row is computed once.
"""

import json
import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nuggets_ray import io
from nuggets_ray.config.schema import Config
from nuggets_ray.data.inputs import inputs_sha256
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.likelihood.paired import RowLogProbs
from nuggets_ray.evaluate.likelihood.rows import (
    HeldRow,
    read_held_rows,
    shared_prompt,
    shared_room,
    without_overlaps,
    write_held_out,
)
from nuggets_ray.evaluate.models import EvalModel
from nuggets_ray.io import write_json
from nuggets_ray.model.identity import weights_fingerprint
from nuggets_ray.prompts.prompt import Prompt
from nuggets_ray.records import Encoding
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.score.worker import Setup, load_engine, model_result, model_task

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """The rows compared on, and what each model gives them.

    `left_out` {reason: rows}, `data` {name: sha256}.
    """

    rows: tuple[HeldRow, ...]
    log_probs: dict[str, list[RowLogProbs]]
    left_out: dict[str, int]
    data: dict[str, str]


def likelihoods(
    config: Config, models: list[EvalModel], dtype: str, workers: Workers
) -> Likelihoods:
    """Log-probs of every held-out row that no training row or anchor resembles, under each model.

    Raises UserError where there are no such rows, or the models have different tokenizers.
    """
    held = read_held_rows(config)
    rows, overlaps = without_overlaps(config, held.rows)
    left_out = dict(held.skipped)
    for overlap in overlaps:
        left_out[overlap.reason] = left_out.get(overlap.reason, 0) + 1
    prompt = shared_prompt(models)
    encodings = {row.example_id: prompt.anchor(row.example) for row in rows}
    room = shared_room(models, prompt)
    num_before = len(rows)
    rows = tuple(r for r in rows if room is None or encodings[r.example_id].num_tokens <= room)
    if num_too_long := num_before - len(rows):
        logger.warning("%d held-out rows are longer than %d tokens", num_too_long, room)
        left_out["longer_than_context"] = num_too_long
    write_held_out(config, held.path, len(held.rows), len(rows), overlaps)
    if not rows:
        raise UserError(
            f"evaluate.held_out_path: no row of {held.path} can be used ({left_out}; "
            "evaluation/held_out.json names the twins): give other rows"
        )
    log_probs = {}
    for model in models:
        found = _log_probs(config, model, prompt, rows, encodings, dtype, workers)
        log_probs[model.name] = [
            RowLogProbs(
                row.example_id,
                row.category,
                encodings[row.example_id].num_answer_tokens,
                found[row.example_id] * encodings[row.example_id].num_answer_tokens,
            )
            for row in rows
        ]
    data = {"held_out": inputs_sha256(held.path)}
    return Likelihoods(rows, log_probs, left_out, data)


def _log_probs(
    config: Config,
    model: EvalModel,
    prompt: Prompt,
    rows: tuple[HeldRow, ...],
    encodings: dict[str, Encoding],
    dtype: str,
    workers: Workers,
) -> dict[str, float]:
    """{example_id: mean log-prob of the answer, nats per token}, computed where it is not kept."""
    key = {
        "weights": weights_fingerprint(model.model),
        "prompt": prompt.fingerprint,
        "dtype": dtype,
        "backend": config.score.backend,
    }
    uri = RunFolder(config.out_dir).evaluation.likelihood(model.name)
    known: dict[str, float] = {}
    if io.exists(uri):
        kept: dict[str, Any] = json.loads(io.read_bytes(uri))
        known = kept["mean_logprob"] if kept["key"] == key else {}
    todo = [row.example_id for row in rows if row.example_id not in known]
    if todo:
        logger.info("model %s: log-probs of %d held-out answers", model.name, len(todo))
        todo.sort(key=lambda example_id: encodings[example_id].num_tokens)
        shards = [todo[start :: workers.num_workers] for start in range(workers.num_workers)]
        setup = Setup(
            replace(config, model=model.model), "evaluate", workers.device, dtype, "", 1,
            workers.gpus_per_worker,
        )  # fmt: skip
        task = model_task(zero_shot, setup, workers)
        pending = [
            (shard, task.remote(setup, [encodings[i] for i in shard], prompt.zero_shot_prefix))
            for shard in filter(None, shards)
        ]
        for shard, ref in pending:
            log_probs_N = model_result(ref, setup.config)
            known |= dict(zip(shard, log_probs_N.tolist(), strict=True))
        write_json(uri, {"key": key, "mean_logprob": known})
    return known


def zero_shot(setup: Setup, encodings: list[Encoding], zero_shot_prefix: np.ndarray) -> np.ndarray:
    """Mean log-probs of the answers without any demonstration: (N,), nats per token."""
    log_probs_N: np.ndarray = load_engine(setup, encodings).log_probs([zero_shot_prefix])[0]
    return log_probs_N
