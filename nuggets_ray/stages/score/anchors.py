"""Choose the anchors and compute their zero-shot log-probs, once a run: anchors.parquet.

Anchors that are drawn from the candidates are drawn once and reused, also when candidates are added
later. Anchors that are asked for beyond those of a scored run are added to it (added.py).
"""

import logging
from collections.abc import Sequence

import numpy as np
import torch

from nuggets_ray.anchors.encode import warn_of_cuts
from nuggets_ray.anchors.fingerprint import anchors_fingerprint, drawn_rules
from nuggets_ray.anchors.known import (
    OtherAnchorsError,
)
from nuggets_ray.prompts.prompt import Prompt
from nuggets_ray.records import Anchor, Encoding
from nuggets_ray.run.added import check_can_grow, forget_added, still_pending
from nuggets_ray.run.anchors import read_known, write_anchors
from nuggets_ray.run.candidates import CandidateIds
from nuggets_ray.run.claim import forget_unscored
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.scores import score_parts
from nuggets_ray.score.calibrate import Measured, measure_engine
from nuggets_ray.score.golden import NOISE_BAND_NATS
from nuggets_ray.score.one_shot import check_finite
from nuggets_ray.score.zero_shot import ZeroShot
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.score.anchor_choice import choose_anchors
from nuggets_ray.stages.score.worker import Setup, load_engine, model_result, model_task

logger = logging.getLogger(__name__)


def anchors_with_zero_shot(
    run: Run, setup: Setup, prompt: Prompt, candidates: CandidateIds, workers: Workers
) -> tuple[ZeroShot, int]:
    """The anchors with their zero-shot log-probs, and how many of them, the first ones, the scored
    rows have met: fewer than all where some are being added to a scored run.

    What is not in anchors.parquet yet is computed. Raises UserError when an anchor that the scores
    of this folder rest on is gone or changed, or one has no finite log-prob.
    """
    out_dir = setup.config.out_dir
    noise_band_nats = NOISE_BAND_NATS[setup.dtype]
    run.manifest["noise_band_nats"] = noise_band_nats
    known, zero_shot_K = read_known(out_dir)
    is_scored = bool(score_parts(out_dir))
    try:
        anchors = choose_anchors(run, setup, prompt, candidates, workers, known)
        is_other = len(anchors) > len(known) and not is_scored
    except OtherAnchorsError:
        if is_scored:
            raise
        is_other = True
    if is_other:
        # an attempt that failed before its first score must not bind the next one
        forget_unscored(out_dir)
        known, zero_shot_K = read_known(out_dir)
        anchors = choose_anchors(run, setup, prompt, candidates, workers)
    if len(anchors) == len(known):
        forget_added(out_dir)
        _record(run, setup, known)
        return ZeroShot(tuple(known), zero_shot_K, noise_band_nats), len(known)
    uri = RunFolder(out_dir).anchors
    if is_scored:
        check_can_grow(out_dir, known)
        pending = still_pending(out_dir, known, anchors)
        if pending is not None:
            return ZeroShot(tuple(pending[0]), pending[1], noise_band_nats), len(known)
        uri = RunFolder(out_dir).added.anchors
    zero_shot_S = _zero_shot(run, setup, prompt, anchors[len(known) :], workers)
    zero_shot_A = np.concatenate([zero_shot_K, zero_shot_S])
    write_anchors(uri, anchors, zero_shot_A)
    if not is_scored:
        _record(run, setup, anchors)
    return ZeroShot(tuple(anchors), zero_shot_A, noise_band_nats), len(known) or len(anchors)


def _record(run: Run, setup: Setup, anchors: Sequence[Anchor]) -> None:
    """What the scores rest on, for people and for a folder whose anchors.parquet is lost."""
    rules = drawn_rules(setup.config.anchors, setup.config.seed)
    fingerprint = run.manifest.setdefault("fingerprint", {})
    fingerprint |= {"anchors": anchors_fingerprint(anchors), "anchors_rule": rules}
    run.save()


def _zero_shot(
    run: Run, setup: Setup, prompt: Prompt, anchors: Sequence[Anchor], workers: Workers
) -> np.ndarray:
    warn_of_cuts(anchors)
    run.tell("loading the model on one worker, to measure it and the anchors")
    measured = measure(setup, anchors, prompt, workers)
    check_finite(anchors, measured.zero_shot_A, setup.dtype)
    run.manifest["calibration"] = {"tokens_per_s": measured.tokens_per_s, "device": setup.device}
    run.manifest["engine"] = measured.engine
    run.save()
    return measured.zero_shot_A


def measure(
    setup: Setup,
    anchors: Sequence[Anchor],
    prompt: Prompt,
    workers: Workers,
    demonstrations: Sequence[np.ndarray] = (),
    duration_s: float = 2.0,
) -> Measured:
    """Zero-shot log-probs and speed of one replica on the cluster; see measure_engine."""
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
    num_anchor_tokens = sum(encoding.num_tokens for encoding in encodings)
    gpu_name = torch.cuda.get_device_name() if setup.device == "cuda" else ""
    return measure_engine(
        engine, num_anchor_tokens, zero_shot_prefix, demonstrations, duration_s, gpu_name
    )
