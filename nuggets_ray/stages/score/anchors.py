"""Choose the anchors and compute their zero-shot log-probs, once a run: anchors.parquet.

Anchors that are drawn from the candidates are drawn once and reused, also when candidates are added
later. Anchors that are asked for beyond those of a scored run are added to it (added.py).
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from nuggets_ray.anchors.encode import warn_of_anchors
from nuggets_ray.anchors.fingerprint import anchors_fingerprint, drawn_rules
from nuggets_ray.anchors.known import OtherAnchorsError
from nuggets_ray.config.schema import Config
from nuggets_ray.prompts.prompt import Prompt
from nuggets_ray.records import Anchor, Encoding
from nuggets_ray.run.added import check_can_grow, forget_added, pending_anchors
from nuggets_ray.run.anchors import read_known, write_anchors
from nuggets_ray.run.candidates import CandidateIds
from nuggets_ray.run.claim import forget_unscored
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.scores import score_parts
from nuggets_ray.score.calibrate import Measured, measure_engine
from nuggets_ray.score.one_shot import check_finite, log_probs_or_nan
from nuggets_ray.score.rounding import noise_bands
from nuggets_ray.score.zero_shot import ZeroShot
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.score.anchor_choice import choose_anchors
from nuggets_ray.stages.score.rounding import demonstrations_to_measure, with_rounding_noise
from nuggets_ray.stages.score.worker import Setup, load_engine, model_result, model_task

logger = logging.getLogger(__name__)

Choose = Callable[[Sequence[Anchor]], list[Anchor]]
MeasureSome = Callable[[Sequence[Anchor]], tuple[list[Anchor], np.ndarray]]


def anchors_with_zero_shot(
    run: Run, setup: Setup, prompt: Prompt, candidates: CandidateIds, workers: Workers
) -> tuple[ZeroShot, int]:
    """The anchors with their zero-shot log-probs, and how many of them, the first ones, the scored
    rows have met: fewer than all where some are being added to a scored run.

    What is not in anchors.parquet yet is computed. Raises UserError when an anchor that the scores
    of this folder rest on is gone or changed, or one has no finite log-prob.
    """
    choose = partial(choose_anchors, run, setup, prompt, candidates, workers)
    measure_some = partial(_measured, run, setup, prompt, candidates, workers)
    grow = _of_scored if score_parts(setup.config.out_dir) else _of_unscored
    anchors, zero_shot_A, num_met = grow(run, setup.config, choose, measure_some)
    band_A = noise_bands(anchors, setup.dtype)
    run.manifest["noise_band_nats"] = float(np.median(band_A))
    return ZeroShot(tuple(anchors), zero_shot_A, band_A), num_met


def _of_unscored(
    run: Run, config: Config, choose: Choose, measure_some: MeasureSome
) -> tuple[Sequence[Anchor], np.ndarray, int]:
    """All anchors of a folder that holds no scores, with their zero-shot log-probs and number."""
    known, zero_shot_A = read_known(run.out_dir)
    anchors = None
    with suppress(OtherAnchorsError):
        anchors = choose(known)
    if known and (anchors is None or len(anchors) > len(known)):
        # an attempt that failed before its first score must not bind the next one
        forget_unscored(run.out_dir)
        known, anchors = [], choose([])
    assert anchors is not None
    if not known:
        anchors, zero_shot_A = measure_some(anchors)
        write_anchors(RunFolder(run.out_dir).anchors, anchors, zero_shot_A)
    _record(run, config, anchors)
    return anchors, zero_shot_A, len(anchors)


def _of_scored(
    run: Run, config: Config, choose: Choose, measure_some: MeasureSome
) -> tuple[Sequence[Anchor], np.ndarray, int]:
    """The same of a folder that holds scores, and on how many of the anchors, the first, they
    rest. Those that are asked for beside them are in added/ now; what an earlier attempt began to
    add comes first."""
    out_dir = run.out_dir
    known, zero_shot_K = read_known(out_dir)
    if pending := pending_anchors(out_dir, known):
        try:
            choose(pending[0])
        except OtherAnchorsError as error:
            logger.warning("what an earlier attempt began to add is dropped: %s", error)
        else:
            return *pending, len(known)
    forget_added(out_dir)
    anchors = choose(known)
    added = anchors[len(known) :]
    if added:
        check_can_grow(out_dir, known)
        added, zero_shot_S = measure_some(added)
        anchors, zero_shot_K = [*known, *added], np.concatenate([zero_shot_K, zero_shot_S])
    _record(run, config, anchors)
    if added:
        write_anchors(RunFolder(out_dir).added.anchors, anchors, zero_shot_K)
    return anchors, zero_shot_K, len(known)


def _record(run: Run, config: Config, anchors: Sequence[Anchor]) -> None:
    """What the scores rest on: the contents for people, the rules for the next attempt."""
    rules = drawn_rules(config.anchors, config.seed)
    fingerprint = run.manifest.setdefault("fingerprint", {})
    fingerprint |= {"anchors": anchors_fingerprint(anchors), "anchors_rule": rules}
    run.save()


def _measured(
    run: Run,
    setup: Setup,
    prompt: Prompt,
    candidates: CandidateIds,
    workers: Workers,
    anchors: Sequence[Anchor],
) -> tuple[list[Anchor], np.ndarray]:
    """New anchors with their rounding noise, and their zero-shot log-probs."""
    warn_of_anchors(anchors)
    run.tell("loading the model on one worker, to measure it and the anchors")
    shown = demonstrations_to_measure(setup, prompt, candidates, anchors)
    measured = measure(setup, anchors, prompt, workers, also=shown)
    check_finite(anchors, measured.zero_shot_A, setup.dtype)
    run.manifest["calibration"] = {"tokens_per_s": measured.tokens_per_s, "device": setup.device}
    run.manifest["engine"] = measured.engine
    with_noise = with_rounding_noise(run, setup, anchors, measured, prompt, shown, workers)
    run.save()
    return with_noise, measured.zero_shot_A


def measure(
    setup: Setup,
    anchors: Sequence[Anchor],
    prompt: Prompt,
    workers: Workers,
    demonstrations: Sequence[np.ndarray] = (),
    duration_s: float = 2.0,
    also: Sequence[np.ndarray] = (),
) -> Measured:
    """Zero-shot log-probs and speed of one replica on the cluster, see measure_engine; and the
    log-probs behind `also`."""
    encodings = [anchor.encoding for anchor in anchors]
    task = model_task(_measure, setup, workers)
    arguments = (setup, encodings, prompt.zero_shot_prefix, list(demonstrations), duration_s)
    measured: Measured = model_result(task.remote(*arguments, list(also)), setup.config)
    logger.info("engine %s: %s", measured.engine["engine"], measured.engine["why"])
    for warning in measured.engine.get("warnings", ()):
        logger.warning("%s", warning)
    return measured


def _measure(
    setup: Setup,
    encodings: list[Encoding],
    zero_shot_prefix: np.ndarray,
    demonstrations: list[np.ndarray],
    duration_s: float,
    also: list[np.ndarray],
) -> Measured:
    engine = load_engine(setup, encodings)
    num_anchor_tokens = sum(encoding.num_tokens for encoding in encodings)
    gpu_name = torch.cuda.get_device_name() if setup.device == "cuda" else ""
    measured = measure_engine(
        engine, num_anchor_tokens, zero_shot_prefix, demonstrations, duration_s, gpu_name
    )
    return replace(measured, one_shot_CA=log_probs_or_nan(engine, also))
