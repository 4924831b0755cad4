"""Choose the anchors and compute their zero-shot log-probs, once a run: anchors.parquet.

Random and k-means anchors are drawn from the candidates once and reused, also when candidates are added later.
"""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray

from nuggets_ray import fingerprint, io
from nuggets_ray.anchors.file import load_examples
from nuggets_ray.anchors.kmeans import embed, kmeans_ids
from nuggets_ray.anchors.random import random_ids
from nuggets_ray.anchors.table import read_anchors, write_anchors
from nuggets_ray.candidate_table import CandidateIds
from nuggets_ray.config import UserError
from nuggets_ray.data import parse
from nuggets_ray.manifest import Run
from nuggets_ray.model import load_model
from nuggets_ray.prompts import Prompt
from nuggets_ray.records import Anchor, Encoding, Example
from nuggets_ray.score.candidates import Baseline
from nuggets_ray.scored_candidates import read_rows
from nuggets_ray.stages.cluster import Workers
from nuggets_ray.stages.scorer import Setup, engine_facts, load_engine

logger = logging.getLogger(__name__)

MAX_KMEANS_ROWS = 50_000
"""K-means clusters a random sample of this many candidates: their hidden states must fit the driver's memory."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What the baseline pass gives: zero-shot log-probs (A,), tokens/s of one replica, and its engine."""

    zero_shot_A: np.ndarray
    tokens_per_s: float
    engine: dict[str, Any]


def baseline(
    run: Run, setup: Setup, prompt: Prompt, candidates: CandidateIds, workers: Workers
) -> Baseline:
    """The anchors with their zero-shot log-probs, read from anchors.parquet or made and written there.

    Raises UserError when the anchors are not those this folder was scored with, or one has no finite log-prob.
    """
    config = setup.config
    uri = io.join(config.out_dir, "anchors.parquet")
    if config.anchors.method == "file":
        anchors = _encode(load_examples(config.anchors), "file", prompt)
        run.set_fingerprint(fingerprint.of_anchors(anchors))
    if io.exists(uri):
        anchors, zero_shot_A = read_anchors(uri)
        return Baseline(tuple(anchors), zero_shot_A)
    if config.anchors.method != "file":
        anchors = _encode(_drawn(setup, prompt, candidates, workers), config.anchors.method, prompt)
        run.set_fingerprint(fingerprint.of_anchors(anchors))
    _warn_of_cuts(anchors)
    measured = measure(setup, anchors, prompt, workers)
    for anchor, log_prob in zip(anchors, measured.zero_shot_A, strict=True):
        if not np.isfinite(log_prob):
            raise UserError(
                f"anchor {anchor.anchor_id} ({anchor.text[:60]!r}) has a zero-shot log-prob of {log_prob} in "
                f"{setup.dtype}: try score.dtype=float32, or remove it from the anchors"
            )
    run.manifest["calibration"] = {"tokens_per_s": measured.tokens_per_s, "device": setup.device}
    run.manifest["engine"] = measured.engine
    run.save()
    write_anchors(uri, anchors, measured.zero_shot_A)
    return Baseline(tuple(anchors), measured.zero_shot_A)


def measure(setup: Setup, anchors: Sequence[Anchor], prompt: Prompt, workers: Workers) -> Measured:
    """Zero-shot log-probs and speed, computed by one replica on the cluster."""
    encodings = [anchor.encoding for anchor in anchors]
    task = ray.remote(_measure).options(max_retries=2, **workers.ray_options)
    try:
        measured: Measured = ray.get(task.remote(setup, encodings, prompt.zero_shot_prefix))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    logger.info("engine %s: %s", measured.engine["engine"], measured.engine["why"])
    return measured


def _measure(setup: Setup, encodings: list[Encoding], zero_shot_prefix: np.ndarray) -> Measured:
    engine = load_engine(setup, encodings)
    zero_shot_A = engine.log_probs([zero_shot_prefix])[0]
    num_tokens = sum(encoding.num_tokens for encoding in encodings)
    started = time.perf_counter()
    num_passes = 0
    while num_passes == 0 or time.perf_counter() - started < 2.0:
        engine.log_probs([zero_shot_prefix])
        num_passes += 1
    tokens_per_s = num_passes * num_tokens / (time.perf_counter() - started)
    return Measured(zero_shot_A, tokens_per_s, engine_facts(engine))


def _drawn(
    setup: Setup, prompt: Prompt, candidates: CandidateIds, workers: Workers
) -> list[Example]:
    config = setup.config
    num = config.anchors.num
    if num is None:
        raise UserError(
            "anchors.num=null: random and k-means anchors need a number, as in anchors.num=100"
        )
    first_rows = np.flatnonzero(~candidates.is_duplicate_N)
    ids = candidates.content_id_N[first_rows].tolist()
    if config.anchors.method == "kmeans":
        ids = random_ids(ids, min(len(ids), MAX_KMEANS_ROWS), config.seed)
        task = ray.remote(_embed).options(max_retries=2, **workers.ray_options)
        hidden_NH = ray.get(
            task.remote(setup, [prompt.anchor(e).token_ids for e in _examples(setup, ids)])
        )
        chosen = kmeans_ids(ids, hidden_NH, num, config.seed)
    else:
        chosen = random_ids(ids, num, config.seed)
    return _examples(setup, chosen)


def _embed(setup: Setup, token_ids: list[np.ndarray]) -> np.ndarray:
    return embed(load_model(setup.config.model, setup.dtype, setup.device), token_ids)


def _examples(setup: Setup, ids: Sequence[str]) -> list[Example]:
    rows = read_rows(setup.config.out_dir, np.array(ids))
    return [parse(json.loads(row), setup.data_format, setup.config.data.columns) for row in rows]


def _encode(examples: Sequence[Example], anchor_set: str, prompt: Prompt) -> list[Anchor]:
    return [
        Anchor(
            anchor_id=f"{anchor_set}-{index}",
            content_id=example.content_id,
            anchor_set=anchor_set,
            text=prompt.text(example),
            encoding=prompt.anchor(example),
        )
        for index, example in enumerate(examples)
    ]


def _warn_of_cuts(anchors: Sequence[Anchor]) -> None:
    cut = [anchor for anchor in anchors if anchor.encoding.num_dropped_tokens]
    empty = sum(anchor.encoding.num_answer_tokens == 0 for anchor in anchors)
    if cut:
        dropped = sum(anchor.encoding.num_dropped_tokens for anchor in cut)
        logger.warning(
            "prompt.max_anchor_tokens cuts %d of %d anchors (%d tokens dropped); %d keep no answer token and always tie",
            len(cut), len(anchors), dropped, empty,
        )  # fmt: skip
