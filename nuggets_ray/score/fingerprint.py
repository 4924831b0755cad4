"""What can change one candidate's numbers, as {key: value}: scores of different fingerprints never
share a folder.

Weights and tokenizer, dtype, backend, template and truncation, the anchors in order, the version of
the score code. Not in it: the candidates, data.limit, schedule, pack size, workers, cluster,
out_dir.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from nuggets_ray.config.schema import AnchorsConfig, Config
from nuggets_ray.model.identity import tokenizer_fingerprint, weights_fingerprint
from nuggets_ray.model.vllm import as_fingerprint
from nuggets_ray.prompts.prompt import Prompt
from nuggets_ray.records import Anchor

SCORE_VERSION = 2
"""Raise when a change of the code can change a candidate's numbers."""


def settings_fingerprint(
    config: Config, prompt: Prompt, tokenizer: PreTrainedTokenizerBase, dtype: str
) -> dict[str, Any]:
    """The part of the fingerprint that is known before any anchor is chosen; `anchors_rule` is not
    among it where the number of anchors to draw is still open.
    """
    anchors = config.anchors
    is_open = anchors.method != "file" and anchors.num is None
    rule = {} if is_open else anchors_rule(anchors, config.seed)
    return {
        "weights": weights_fingerprint(config.model),
        "tokenizer": tokenizer_fingerprint(tokenizer),
        "dtype": dtype,
        "backend": config.score.backend,
        "backend_arguments": as_fingerprint(config.score.vllm),
        "template": f"{prompt.name} {prompt.fingerprint}",
        "on_too_long": config.data.on_too_long,
        **rule,
        "score_version": SCORE_VERSION,
    }


def anchors_rule(anchors: AnchorsConfig, seed: int) -> dict[str, str]:
    """How the anchors are chosen."""
    drawn = "" if anchors.method == "file" else f", seed {seed}"
    return {"anchors_rule": f"{anchors.method}, num {anchors.num}{drawn}"}


def num_of_rule(rule: str, method: str, seed: int) -> int | None:
    """How many anchors a recorded rule draws; None where it is of another method or seed."""
    match = re.fullmatch(rf"{method}, num (\d+), seed {seed}", rule)
    return None if match is None else int(match[1])


def anchors_fingerprint(anchors: Sequence[Anchor]) -> dict[str, str]:
    """The anchors' contents in order, as token ids and answer masks."""
    digest = hashlib.sha256()
    for anchor in anchors:
        digest.update(anchor.encoding.token_ids.astype("<i8").tobytes())
        digest.update(anchor.encoding.answer_mask.tobytes())
        digest.update(b"|")
    return {"anchors": digest.hexdigest()[:16]}
