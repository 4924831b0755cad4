"""What can change one candidate's numbers, as {key: value}: scores of different fingerprints never
share a folder.

Weights and tokenizer, dtype, backend, template and truncation, the version of the score code; and
the anchors, which anchors/fingerprint.py tells apart. Not in it: the candidates, data.limit,
schedule, pack size, workers, cluster, out_dir.
"""

from typing import Any

from transformers import PreTrainedTokenizerBase

from nuggets_ray.config.schema import Config
from nuggets_ray.model.identity import tokenizer_fingerprint, weights_fingerprint
from nuggets_ray.model.vllm import as_fingerprint
from nuggets_ray.prompts.prompt import Prompt

SCORE_VERSION = 2
"""Raise when a change of the code can change a candidate's numbers."""


def settings_fingerprint(
    config: Config, prompt: Prompt, tokenizer: PreTrainedTokenizerBase, dtype: str
) -> dict[str, Any]:
    """The part of the fingerprint that is known before any anchor is chosen."""
    return {
        "weights": weights_fingerprint(config.model),
        "tokenizer": tokenizer_fingerprint(tokenizer),
        "dtype": dtype,
        "backend": config.score.backend,
        "backend_arguments": as_fingerprint(config.score.vllm),
        "template": f"{prompt.name} {prompt.fingerprint}",
        "on_too_long": config.data.on_too_long,
        "score_version": SCORE_VERSION,
    }
