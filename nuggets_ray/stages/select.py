"""The select job where it takes the model: select.diversity compares hidden states of the best
rows, which the workers compute. All other selections need no Ray (run/select.py).
"""

import json
import logging
from dataclasses import replace
from typing import Any

import numpy as np
import ray
import torch

from nuggets_ray.anchors.kmeans import embed
from nuggets_ray.config.schema import Config, ModelConfig, PromptConfig
from nuggets_ray.curate.diversity import reduced
from nuggets_ray.data.examples import Rules
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import load_model, load_tokenizer, resolve_dtype, resolve_model
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.run.embeddings import add_embeddings, read_embeddings
from nuggets_ray.run.job_configs import scored_config
from nuggets_ray.run.joined import read_rows
from nuggets_ray.run.row_text import row_rules
from nuggets_ray.run.select import select_and_report
from nuggets_ray.run.select_materials import Embed
from nuggets_ray.stages.cluster.deaths import MAX_DEATHS
from nuggets_ray.stages.cluster.workers import (
    Workers,
    check_shared_folder,
    connected,
    on_worker,
)
from nuggets_ray.stages.score.worker import model_result

logger = logging.getLogger(__name__)

CHUNK_ROWS = 4096
"""Rows whose hidden states a worker holds at a time, before they are reduced."""


def select(config: Config) -> dict[str, Any]:
    """`select_and_report`, with a Ray where the rows are to be embedded."""
    return select_and_report(config, embedder(config))


def embedder(config: Config) -> Embed | None:
    """What computes embeddings of rows of config.out_dir with the model that scored them; None
    where the selection takes none.

    Those that an earlier selection took are read from embeddings.parquet; Ray starts for the
    others only.
    """
    if config.select.diversity == "none":
        return None

    def embed_rows(example_ids: np.ndarray) -> np.ndarray:
        is_known_P, known = read_embeddings(config.out_dir, example_ids)
        if is_known_P.all():
            return known
        new = _embed_on_workers(config, example_ids[~is_known_P])
        add_embeddings(config.out_dir, example_ids[~is_known_P], new)
        vector_PD = np.empty((len(example_ids), new.shape[1]), np.float32)
        vector_PD[~is_known_P] = new
        if is_known_P.any():
            vector_PD[is_known_P] = known
        return vector_PD

    return embed_rows


def _embed_on_workers(config: Config, example_ids: np.ndarray) -> np.ndarray:
    """The embeddings of rows, each worker's share of them computed by a model of its own."""
    scored, rules = scored_config(config.out_dir), row_rules(config.out_dir)
    if scored is None or rules is None:
        raise UserError(
            f"select.diversity={config.select.diversity}: out_dir={config.out_dir} does not say "
            "which model scored it, or how its rows are read: take select.diversity=none"
        )
    model = resolve_model(scored.model)
    template = make_prompt(load_tokenizer(model), scored.prompt).name
    with connected(config.cluster) as workers:
        check_shared_folder(config.out_dir)
        dtype = on_worker(workers, resolve_dtype, scored.score.dtype, template, workers.device)
        logger.info(
            "select.diversity=%s: the hidden states of %d rows, on %d workers",
            *(config.select.diversity, len(example_ids), workers.num_workers),
        )
        shares = np.array_split(example_ids, min(workers.num_workers, len(example_ids)))
        task = ray.remote(_embed).options(
            name="nuggets_embed", max_retries=MAX_DEATHS - 1, **workers.ray_options
        )
        arguments = (model, scored.prompt, dtype, workers, config.out_dir, rules)
        refs = [task.remote(*arguments, share) for share in shares]
        used = replace(config, model=model)
        return np.concatenate([model_result(ref, used) for ref in refs])


def _embed(
    model_config: ModelConfig,
    prompt_config: PromptConfig,
    dtype: str,
    workers: Workers,
    out_dir: str,
    rules: Rules,
    example_ids: np.ndarray,
) -> np.ndarray:
    # on a worker, so that the driver holds neither rows nor a model
    torch.set_num_threads(workers.cpus_per_worker)
    try:
        model = load_model(model_config, dtype, workers.device)
    except (UserError, torch.OutOfMemoryError) as error:
        raise UserError(
            "select.diversity takes hidden states from transformers, which cannot load "
            f"model.path={model_config.path} here ({error}): take select.diversity=none"
        ) from error
    prompt = make_prompt(load_tokenizer(model_config), prompt_config)
    parts = []
    for start in range(0, len(example_ids), CHUNK_ROWS):
        rows = read_rows(out_dir, example_ids[start : start + CHUNK_ROWS])
        examples = [rules.parse(json.loads(row)) for row in rows]
        token_ids = [prompt.demonstration(example).token_ids for example in examples]
        parts.append(reduced(embed(model, token_ids)))
    return np.concatenate(parts)
