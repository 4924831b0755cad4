"""Choose the anchors and compute their zero-shot log-probs, once a run: anchors.parquet.

Random and k-means anchors are drawn from the candidates once and reused, also when candidates are
added later.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from nuggets_ray import io
from nuggets_ray.anchors.drawn import MAX_KMEANS_ROWS, drawn_examples, nearest_to_centres
from nuggets_ray.anchors.encode import encode_anchors, warn_of_cuts
from nuggets_ray.anchors.file import load_examples
from nuggets_ray.anchors.number import default_num
from nuggets_ray.anchors.random import DEFAULT_NUM, check_num, random_ids
from nuggets_ray.config.schema import Config
from nuggets_ray.prompts.prompt import Prompt
from nuggets_ray.records import Anchor, Encoding, Example
from nuggets_ray.run.anchors import read_anchors, write_anchors
from nuggets_ray.run.candidates import CandidateIds
from nuggets_ray.run.claim import claim
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.score.calibrate import Measured, measure_engine
from nuggets_ray.score.fingerprint import anchors_fingerprint, num_of_rule
from nuggets_ray.score.one_shot import check_finite, log_probs_or_nan
from nuggets_ray.score.rounding import noise_bands
from nuggets_ray.score.zero_shot import ZeroShot
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.score.rounding import demonstrations_to_measure, with_rounding_noise
from nuggets_ray.stages.score.worker import Setup, load_engine, model_result, model_task

logger = logging.getLogger(__name__)


def settle_num(run: Run, config: Config, candidates: CandidateIds) -> Config:
    """`config` with the number of anchors that are to be drawn: as given, else that of the anchors
    which the folder has, else the default.
    """
    anchors, schedule = config.anchors, config.schedule.name
    if anchors.method == "file" or anchors.num is not None:
        return config
    num = None
    if io.exists(RunFolder(config.out_dir).anchors):
        recorded = run.manifest.get("fingerprint", {}).get("anchors_rule", "")
        num = num_of_rule(recorded, anchors.method, config.seed)
    if num is None:
        num_distinct = int(np.count_nonzero(~candidates.is_duplicate_N))
        num = default_num(schedule, config.race, config.select, num_distinct)
        if num != DEFAULT_NUM:
            logger.info(
                "%d anchors are drawn, as schedule=%s has %d different candidates to share their "
                "cost (full scoring draws %d; anchors.num=N: another number)",
                *(num, schedule, num_distinct, DEFAULT_NUM),
            )
    return replace(config, anchors=replace(anchors, num=num))


def anchors_with_zero_shot(
    run: Run, setup: Setup, prompt: Prompt, candidates: CandidateIds, workers: Workers
) -> ZeroShot:
    """The anchors with their zero-shot log-probs, read from anchors.parquet or made and written
    there.

    Raises UserError when the anchors are not those this folder was scored with, or one has no
    finite log-prob.
    """
    uri = RunFolder(setup.config.out_dir).anchors
    if io.exists(uri) and setup.config.anchors.method != "file":
        return _baseline(run, setup, *read_anchors(uri))
    anchors = choose_anchors(setup, prompt, candidates, workers)
    claim(run, anchors_fingerprint(anchors))
    if io.exists(uri):
        return _baseline(run, setup, *read_anchors(uri))
    warn_of_cuts(anchors)
    run.tell("loading the model on one worker, to measure it and the anchors")
    shown = demonstrations_to_measure(setup, prompt, candidates, anchors)
    measured = measure(setup, anchors, prompt, workers, also=shown)
    check_finite(anchors, measured.zero_shot_A, setup.dtype)
    run.manifest["calibration"] = {"tokens_per_s": measured.tokens_per_s, "device": setup.device}
    run.manifest["engine"] = measured.engine
    anchors = with_rounding_noise(run, setup, anchors, measured, prompt, shown, workers)
    run.save()
    write_anchors(uri, anchors, measured.zero_shot_A)
    return _baseline(run, setup, anchors, measured.zero_shot_A)


def _baseline(
    run: Run, setup: Setup, anchors: Sequence[Anchor], zero_shot_A: np.ndarray
) -> ZeroShot:
    band_A = noise_bands(anchors, setup.dtype)
    run.manifest["noise_band_nats"] = float(np.median(band_A))
    return ZeroShot(tuple(anchors), zero_shot_A, band_A)


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


def choose_anchors(
    setup: Setup, prompt: Prompt, candidates: CandidateIds, workers: Workers
) -> list[Anchor]:
    """The anchors by anchors.method: from the file, or drawn from the candidates (seeded)."""
    config = setup.config.anchors
    if config.method == "file":
        return encode_anchors(load_examples(config), "file", prompt)
    num = config.num
    assert num is not None  # settle_num
    seed = setup.config.seed
    ids = candidates.content_id_N[~candidates.is_duplicate_N].tolist()
    if config.method == "kmeans":
        check_num(num, len(ids))
        sample = random_ids(ids, min(len(ids), MAX_KMEANS_ROWS), seed)
        task = model_task(_kmeans, setup, workers)
        chosen = model_result(task.remote(setup, sample, prompt, num), setup.config)
    else:
        chosen = random_ids(ids, num, seed)
    return encode_anchors(_examples(setup, chosen), config.method, prompt)


def _kmeans(setup: Setup, ids: list[str], prompt: Prompt, num: int) -> list[str]:
    # on a worker, so that the driver holds neither rows nor hidden states
    examples = zip(ids, _examples(setup, ids), strict=True)
    token_ids = {content_id: prompt.anchor(example).token_ids for content_id, example in examples}
    config = setup.config
    return nearest_to_centres(config.model, setup.dtype, setup.device, token_ids, num, config.seed)


def _examples(setup: Setup, ids: Sequence[str]) -> list[Example]:
    config = setup.config
    return drawn_examples(config.out_dir, ids, setup.rules)
