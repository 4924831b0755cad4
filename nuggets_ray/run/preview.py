"""preview.jsonl: a few pairs of candidate and anchor with all that recomputing their log-probs
takes.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nuggets_ray import io
from nuggets_ray.prompts.prompt import Prompt
from nuggets_ray.records import Anchor, Example
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.scores import read_log_probs

NUM_CANDIDATES = 3
NUM_ANCHORS = 2


def write_preview(
    out_dir: str,
    examples: Mapping[str, Example],
    anchors: Sequence[Anchor],
    zero_shot_A: np.ndarray,
    prompt: Prompt,
    max_demonstration_tokens: int,
    dtype: str,
) -> None:
    """Write a line for each of the scored candidates {example_id: example} and each of the first
    anchors; `zero_shot_A` (A,) in nats per answer token.
    """
    log_probs = read_log_probs(out_dir, list(examples))
    lines = []
    for example_id, example in examples.items():
        for index, anchor in enumerate(anchors[:NUM_ANCHORS]):
            pair = _pair(example, anchor, prompt, max_demonstration_tokens)
            numbers = {
                "one_shot_logprob": log_probs[example_id][index],
                "zero_shot_logprob": float(zero_shot_A[index]),
                "dtype": dtype,
            }
            lines.append({"example_id": example_id, **pair, **numbers})
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    io.write_bytes(RunFolder(out_dir).preview, text.encode("utf-8"))


def _pair(
    example: Example, anchor: Anchor, prompt: Prompt, max_demonstration_tokens: int
) -> dict[str, Any]:
    """Texts and token ids of a candidate before an anchor, and of the anchor alone."""
    encoding = anchor.encoding
    demonstration = prompt.demonstration(example, max_demonstration_tokens)
    ids = np.concatenate([demonstration.token_ids, encoding.token_ids])
    mask = np.concatenate([np.zeros(demonstration.num_tokens, bool), encoding.answer_mask])
    zero_ids = np.concatenate([prompt.zero_shot_prefix, encoding.token_ids])
    return {
        "anchor_id": anchor.anchor_id,
        "demonstration_text": prompt.text(example),
        "anchor_text": anchor.text,
        "one_shot_token_ids": ids.tolist(),
        "one_shot_answer_mask": mask.astype(int).tolist(),
        "zero_shot_token_ids": zero_ids.tolist(),
    }
