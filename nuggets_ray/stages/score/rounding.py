"""Measure the rounding noise of new anchors: a few candidates in float32 beside the run's dtype, by
the same engine, on one worker.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import psutil
import torch

from nuggets_ray.errors import UserError
from nuggets_ray.prompts.prompt import Prompt, reason_to_skip
from nuggets_ray.records import Anchor, Encoding
from nuggets_ray.run.candidates import CandidateIds, is_among
from nuggets_ray.run.manifest import Run
from nuggets_ray.schedule.replay import race_hashes
from nuggets_ray.score.calibrate import Measured
from nuggets_ray.score.limits import demonstration_limit
from nuggets_ray.score.memory import replica_memory
from nuggets_ray.score.one_shot import log_probs_or_nan
from nuggets_ray.score.pack_size import LEAST_PACK_TOKENS
from nuggets_ray.score.plan import replica_request
from nuggets_ray.score.rounding import NEAR_TIE_SDS, num_candidates, rounding_noise, with_noise
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.score.worker import Setup, load_engine, model_result, model_task
from nuggets_ray.units import duration_text, size_text

logger = logging.getLogger(__name__)

TRIED = 4
"""Candidates looked at for each one that is wanted, as some do not fit."""


def demonstrations_to_measure(
    setup: Setup, prompt: Prompt, candidates: CandidateIds, anchors: Sequence[Anchor]
) -> list[np.ndarray]:
    """The demonstrations (token ids) that the rounding of new anchors is measured behind: of
    candidates drawn by hash that are no anchors; none where there is nothing to measure."""
    if setup.dtype == "float32" or setup.config.score.backend == "vllm":
        return []
    config, wanted = setup.config, num_candidates(len(anchors))
    max_anchor = max(anchor.encoding.num_tokens for anchor in anchors)
    limit = demonstration_limit(config.model, config.score, config.prompt, max_anchor)
    is_anchor_N = is_among(candidates.content_id_N, [anchor.content_id for anchor in anchors])
    rows = np.flatnonzero(~candidates.is_duplicate_N & ~is_anchor_N)
    hash_n = race_hashes(candidates.content_id_N[rows], config.seed)
    drawn: list[np.ndarray] = []
    for row in rows[np.argsort(hash_n, kind="stable")][: TRIED * wanted]:
        example = setup.rules.parse(candidates.read_row(row))
        shown = prompt.demonstration(example, limit)
        if reason_to_skip(shown, config.data.on_too_long) is None:
            drawn.append(shown.token_ids)
        if len(drawn) == wanted:
            break
    return drawn


def with_rounding_noise(
    run: Run,
    setup: Setup,
    anchors: Sequence[Anchor],
    measured: Measured,
    prompt: Prompt,
    demonstrations: Sequence[np.ndarray],
    workers: Workers,
) -> list[Anchor]:
    """The anchors with their rounding noise, or as they are where it cannot be measured, which is
    said. `measured` holds the log-probs behind `demonstrations` in the run's dtype.
    """
    if setup.dtype == "float32":
        return with_noise(anchors, np.zeros(len(anchors)))
    began = time.monotonic()
    noise_A = _noise(run, setup, anchors, measured, prompt, demonstrations, workers)
    if isinstance(noise_A, str):
        logger.warning(
            "the rounding noise of the anchors is not measured (%s): near ties are those within "
            "the constant band of %s",
            *(noise_A, setup.dtype),
        )
        return list(anchors)
    seconds, median = time.monotonic() - began, float(np.median(noise_A))
    run.manifest["rounding_noise"] = {
        "num_candidates": len(demonstrations),
        "median_nats": median,
        "max_nats": float(noise_A.max()),
        "seconds": round(seconds, 1),
    }
    logger.info(
        "rounding noise of a gain in %s, measured on %d candidates x %d anchors in %s: %.2g nats "
        "for the median anchor, from %.2g to %.2g; near ties are within %g times an anchor's own",
        *(setup.dtype, len(demonstrations), len(noise_A), duration_text(seconds), median),
        *(noise_A.min(), noise_A.max(), NEAR_TIE_SDS),
    )
    return with_noise(anchors, noise_A)


def _noise(
    run: Run,
    setup: Setup,
    anchors: Sequence[Anchor],
    measured: Measured,
    prompt: Prompt,
    demonstrations: Sequence[np.ndarray],
    workers: Workers,
) -> np.ndarray | str:
    """The noise of each anchor, (A,), or why it is not known."""
    if setup.config.score.backend == "vllm":
        return "score.backend=vllm: no float32 beside it"
    if measured.one_shot_CA is None:
        return "no candidate can be scored that is no anchor"
    run.tell(
        f"measuring the rounding of {setup.dtype}: {len(demonstrations)} candidates x "
        f"{len(anchors)} anchors in float32"
    )
    exact = _exact(setup, anchors, [prompt.zero_shot_prefix, *demonstrations], workers)
    if isinstance(exact, str):
        return exact
    noise_A = rounding_noise(measured.zero_shot_A, measured.one_shot_CA, exact[0], exact[1:])
    return "no log-prob is finite" if noise_A is None else noise_A


def _exact(
    setup: Setup, anchors: Sequence[Anchor], prefixes: list[np.ndarray], workers: Workers
) -> np.ndarray | str:
    """Log-probs in float32, (C, A), NaN in the row of a prefix that has none; or why there are
    none."""
    exact = replace(setup, dtype="float32")
    longest = max(map(len, prefixes))
    size_tokens = setup.config.score.max_pack_tokens or LEAST_PACK_TOKENS[setup.device]
    # in float32 a GPU computes neither by merge nor by gather; flex keeps what merge keeps
    request = replica_request(exact.dtype, setup.device, size_tokens, longest, anchors)
    predicted = replica_memory(setup.config.model, request)
    num_bytes = 0 if predicted is None else predicted.peak_bytes
    encodings = [anchor.encoding for anchor in anchors]
    task = model_task(_log_probs, exact, workers, max_retries=0)
    try:
        answer: np.ndarray | str = model_result(
            task.remote(exact, encodings, prefixes, num_bytes), setup.config
        )
    except UserError as error:
        return str(error)
    return answer


def _log_probs(
    setup: Setup, encodings: list[Encoding], prefixes: list[np.ndarray], num_bytes: int
) -> np.ndarray | str:
    free = _free_bytes(setup.device)
    if num_bytes > free:
        return f"{setup.dtype} needs {size_text(num_bytes)}, and {size_text(free)} are free"
    log_probs = log_probs_or_nan(load_engine(setup, encodings), prefixes)
    return f"nothing can be scored in {setup.dtype}" if log_probs is None else log_probs


def _free_bytes(device: str) -> int:
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)
