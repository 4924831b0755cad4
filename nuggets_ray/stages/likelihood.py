"""evaluate=likelihood: log-probs of the held-out answers under each model, on the scoring engine.

Kept a model under evaluation/likelihood/<model>.json, so that a row is computed once.
"""

import json
import logging
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from nuggets_ray import fingerprint, io
from nuggets_ray.config import Config, UserError
from nuggets_ray.evaluate.held_out import Overlap, find_overlaps, text_row
from nuggets_ray.evaluate.held_rows import HeldRow, read_held_rows, training_sources
from nuggets_ray.evaluate.models import BASE, EvalModel
from nuggets_ray.evaluate.paired_rows import RowLogProbs
from nuggets_ray.manifest import write_json
from nuggets_ray.model import load_config, load_tokenizer, max_context_tokens
from nuggets_ray.prompts import Prompt, make_prompt
from nuggets_ray.records import Encoding
from nuggets_ray.stages.cluster import Workers
from nuggets_ray.stages.scorer import Setup, load_engine, model_result, model_task

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
    rows, overlaps = _without_overlaps(config, held.rows)
    left_out = dict(held.skipped)
    for overlap in overlaps:
        left_out[overlap.reason] = left_out.get(overlap.reason, 0) + 1
    prompt = _shared_prompt(models)
    encodings = {row.example_id: prompt.anchor(row.example) for row in rows}
    room = _room(models, prompt)
    num_before = len(rows)
    rows = tuple(r for r in rows if room is None or encodings[r.example_id].num_tokens <= room)
    if num_too_long := num_before - len(rows):
        logger.warning("%d held-out rows are longer than %d tokens", num_too_long, room)
        left_out["longer_than_context"] = num_too_long
    _write_held_out(config, held.path, len(held.rows), len(rows), overlaps)
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
    data = {"held_out": io.inputs_sha256(held.path)}
    return Likelihoods(rows, log_probs, left_out, data)


def _room(models: list[EvalModel], prompt: Prompt) -> int | None:
    """The most tokens of a row that every model takes; None: any."""
    contexts = [
        max_context_tokens(load_config(model.model, any_architecture=True)) for model in models
    ]
    context = min((tokens for tokens in contexts if tokens is not None), default=None)
    return None if context is None else context - len(prompt.zero_shot_prefix)


def _write_held_out(
    config: Config, path: str, num_rows: int, num_used: int, overlaps: list[Overlap]
) -> None:
    twins = [
        {**asdict(overlap), "similarity": round(overlap.similarity, 4)} for overlap in overlaps
    ]
    write_json(
        io.join(config.out_dir, "evaluation", "held_out.json"),
        {"path": path, "num_rows": num_rows, "num_used": num_used, "left_out": twins},
    )


def _without_overlaps(
    config: Config, rows: tuple[HeldRow, ...]
) -> tuple[tuple[HeldRow, ...], list[Overlap]]:
    logger.info("%d held-out rows: looking for them among training rows and anchors", len(rows))
    texts = [text_row(row.example_id, row.example) for row in rows]
    overlaps = find_overlaps(texts, training_sources(config))
    if overlaps:
        logger.warning(
            "%d of %d held-out rows have a twin in training rows or anchors and are left out "
            "(evaluation/held_out.json)",
            *(len(overlaps), len(rows)),
        )
    twins = {overlap.example_id for overlap in overlaps}
    return tuple(row for row in rows if row.example_id not in twins), overlaps


def _shared_prompt(models: list[EvalModel]) -> Prompt:
    """The first model's prompt for all of them: the same token ids under every model."""
    tokenizers = {model.name: load_tokenizer(model.model) for model in models}
    first = models[0]
    expected = fingerprint.of_tokenizer(tokenizers[first.name])
    for model in models[1:]:
        if fingerprint.of_tokenizer(tokenizers[model.name]) != expected:
            raise UserError(
                f"evaluate.models: {model.name} has another tokenizer than {first.name}, and "
                "log-probs a token of different tokens do not compare: evaluate it alone, or by "
                "its answers (evaluate=alpaca_eval)"
            )
    # a trained model has a written-in chat template where its base has none: same text, but its
    # own tokenizer could lead to another rendering
    chosen = next((model for model in models if model.name == BASE), first)
    return make_prompt(tokenizers[chosen.name], chosen.prompt)


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
        "weights": fingerprint.of_weights(Config(model=model.model)),
        "prompt": prompt.fingerprint,
        "dtype": dtype,
        "backend": config.score.backend,
    }
    uri = io.join(config.out_dir, "evaluation", "likelihood", f"{model.name}.json")
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
