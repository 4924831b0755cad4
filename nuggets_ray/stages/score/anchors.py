"""Choose the anchors and compute their zero-shot log-probs, once a run: anchors.parquet.

Random and k-means anchors are drawn from the candidates once and reused, also when candidates are
added later.
"""

import itertools
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nuggets_ray import io
from nuggets_ray.anchors.encode import encode_anchors, warn_of_cuts
from nuggets_ray.anchors.file import load_examples
from nuggets_ray.anchors.kmeans import embed, kmeans_ids
from nuggets_ray.anchors.random import check_num, random_ids
from nuggets_ray.data.formats import parse
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import load_model
from nuggets_ray.prompts.prompt import Prompt
from nuggets_ray.records import Anchor, Encoding, Example
from nuggets_ray.run.anchors import read_anchors, write_anchors
from nuggets_ray.run.candidates import CandidateIds
from nuggets_ray.run.joined import read_rows
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.scores import score_parts
from nuggets_ray.run.skipped import rewrite_skipped
from nuggets_ray.score.fingerprint import anchors_fingerprint
from nuggets_ray.score.golden import NOISE_BAND_NATS
from nuggets_ray.score.one_shot import ZeroShot, check_finite
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.score.worker import (
    Setup,
    engine_facts,
    load_engine,
    model_result,
    model_task,
)

logger = logging.getLogger(__name__)

MAX_KMEANS_ROWS = 50_000
"""K-means clusters a random sample of this many candidates: their hidden states must fit a worker's
memory.
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one replica computed and showed of itself.

    Zero-shot log-probs (A,), its speed in tokens/s, its engine, and its peak memory (of the GPU, or
    of the process on a CPU) in GiB.
    """

    zero_shot_A: np.ndarray
    tokens_per_s: float
    engine: dict[str, Any]
    peak_memory_gib: float


def anchors_with_zero_shot(
    run: Run, setup: Setup, prompt: Prompt, candidates: CandidateIds, workers: Workers
) -> ZeroShot:
    """The anchors with their zero-shot log-probs, read from anchors.parquet or made and written
    there.

    Raises UserError when the anchors are not those this folder was scored with, or one has no
    finite log-prob.
    """
    uri = RunFolder(setup.config.out_dir).anchors
    noise_band_nats = NOISE_BAND_NATS[setup.dtype]
    run.manifest["noise_band_nats"] = noise_band_nats
    if io.exists(uri) and setup.config.anchors.method != "file":
        anchors, zero_shot_A = read_anchors(uri)
        return ZeroShot(tuple(anchors), zero_shot_A, noise_band_nats)
    anchors = choose_anchors(setup, prompt, candidates, workers)
    claim(run, anchors_fingerprint(anchors))
    if io.exists(uri):
        return ZeroShot(tuple(anchors), read_anchors(uri)[1], noise_band_nats)
    warn_of_cuts(anchors)
    measured = measure(setup, anchors, prompt, workers)
    check_finite(anchors, measured.zero_shot_A, setup.dtype)
    run.manifest["calibration"] = {"tokens_per_s": measured.tokens_per_s, "device": setup.device}
    run.manifest["engine"] = measured.engine
    run.save()
    write_anchors(uri, anchors, measured.zero_shot_A)
    return ZeroShot(tuple(anchors), measured.zero_shot_A, noise_band_nats)


def claim(run: Run, settings: Mapping[str, Any]) -> None:
    """Record a part of the fingerprint, whatever the folder's was before anything was scored.

    An attempt that failed before its first score must not bind the next one, which may be the way
    out that its error named. Raises UserError when out_dir holds scores made with another.
    """
    recorded = run.manifest.get("fingerprint", {})
    is_other = any(recorded.get(key, value) != value for key, value in settings.items())
    if is_other and not score_parts(run.out_dir):
        io.delete(RunFolder(run.out_dir).anchors)
        rewrite_skipped(run.out_dir, {}, 0)  # what it could not score is tried again
        run.manifest["fingerprint"] = {k: v for k, v in recorded.items() if k not in settings}
    run.set_fingerprint(settings)


def measure(
    setup: Setup,
    anchors: Sequence[Anchor],
    prompt: Prompt,
    workers: Workers,
    demonstrations: Sequence[np.ndarray] = (),
    duration_s: float = 2.0,
) -> Measured:
    """Zero-shot log-probs and speed of one replica on the cluster.

    The speed is taken over `duration_s` of scoring behind `demonstrations` (token ids, each in
    turn), or behind the zero-shot prefix where there are none.
    """
    encodings = [anchor.encoding for anchor in anchors]
    task = model_task(_measure, setup, workers)
    arguments = (setup, encodings, prompt.zero_shot_prefix, list(demonstrations), duration_s)
    measured: Measured = model_result(task.remote(*arguments), setup.config)
    logger.info("engine %s: %s", measured.engine["engine"], measured.engine["why"])
    return measured


def _measure(
    setup: Setup,
    encodings: list[Encoding],
    zero_shot_prefix: np.ndarray,
    demonstrations: list[np.ndarray],
    duration_s: float,
) -> Measured:
    engine = load_engine(setup, encodings)
    zero_shot_A = engine.log_probs([zero_shot_prefix])[0]
    num_anchor_tokens = sum(encoding.num_tokens for encoding in encodings)
    num_tokens = 0
    prefixes = itertools.cycle(demonstrations or [zero_shot_prefix])
    started = time.perf_counter()
    while num_tokens == 0 or time.perf_counter() - started < duration_s:
        prefix = next(prefixes)
        engine.log_probs([prefix])
        num_tokens += len(prefix) + num_anchor_tokens
    tokens_per_s = num_tokens / (time.perf_counter() - started)
    peak_memory_gib = engine.peak_memory_bytes() / 2**30
    return Measured(zero_shot_A, tokens_per_s, engine_facts(engine), peak_memory_gib)


def choose_anchors(
    setup: Setup, prompt: Prompt, candidates: CandidateIds, workers: Workers
) -> list[Anchor]:
    """The anchors by anchors.method: from the file, or drawn from the candidates (seeded)."""
    config = setup.config.anchors
    if config.method == "file":
        return encode_anchors(load_examples(config), "file", prompt)
    if config.num is None:
        raise UserError(
            "anchors.num=null: random and k-means anchors need a number, as in anchors.num=100"
        )
    seed = setup.config.seed
    ids = candidates.content_id_N[~candidates.is_duplicate_N].tolist()
    if config.method == "kmeans":
        check_num(config.num, len(ids))
        sample = random_ids(ids, min(len(ids), MAX_KMEANS_ROWS), seed)
        task = model_task(_kmeans, setup, workers)
        chosen = model_result(task.remote(setup, sample, prompt, config.num), setup.config)
    else:
        chosen = random_ids(ids, config.num, seed)
    return encode_anchors(_examples(setup, chosen), config.method, prompt)


def _kmeans(setup: Setup, ids: list[str], prompt: Prompt, num: int) -> list[str]:
    # on a worker, so that the driver holds neither rows nor hidden states
    token_ids = [prompt.anchor(example).token_ids for example in _examples(setup, ids)]
    config = setup.config
    try:
        model = load_model(config.model, setup.dtype, setup.device)
    except (UserError, torch.OutOfMemoryError) as error:
        raise UserError(
            f"anchors=kmeans takes hidden states from transformers, which cannot load "
            f"model.path={config.model.path} here ({error}): take anchors=random or anchors=file"
        ) from error
    hidden_NH = embed(model, token_ids)
    return kmeans_ids(ids, hidden_NH, num, config.seed)


def _examples(setup: Setup, ids: Sequence[str]) -> list[Example]:
    rows = read_rows(setup.config.out_dir, np.array(ids))
    return [parse(json.loads(row), setup.data_format, setup.config.data.columns) for row in rows]
