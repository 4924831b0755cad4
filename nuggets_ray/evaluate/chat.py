"""Conversations -> the token ids that a model answers, and the ids that end its answer.

The ids are those of scoring and training: everything in front of the answer in the rendering of
the whole conversation. Must not import torch or ray.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nuggets_ray.prompts import Prompt
from nuggets_ray.records import Example, Message

PLACEHOLDER = "x"


def conversation(turns: Sequence[str], system: str = "") -> tuple[Message, ...]:
    """User and assistant turns by turns, the user's first and last."""
    roles = ("user", "assistant")
    head = (Message("system", system),) if system else ()
    return (*head, *(Message(roles[index % 2], text) for index, text in enumerate(turns)))


def prompt_ids(prompt: Prompt, messages: Sequence[Message]) -> np.ndarray:
    """Token ids (T,) up to where the answer to the last message begins."""
    encoding = prompt.anchor(Example((*messages, Message("assistant", PLACEHOLDER))))
    is_start = np.diff(encoding.answer_mask.astype(np.int8), prepend=0) == 1
    start = int(np.flatnonzero(is_start)[-1])
    return np.concatenate([prompt.zero_shot_prefix, encoding.token_ids[:start]])


def end_ids(prompt: Prompt, tokenizer: Any, generation_eos: int | list[int] | None) -> list[int]:
    """Tokens that end an answer: the generation settings', the tokenizer's, and the template's end
    of turn.
    """
    given = generation_eos if isinstance(generation_eos, list) else [generation_eos]
    ids = [*given, tokenizer.eos_token_id]
    rendered = prompt.anchor(Example(conversation(["x", PLACEHOLDER])))
    answered = rendered.token_ids[rendered.answer_mask]
    if len(answered) and int(answered[-1]) in tokenizer.all_special_ids:
        ids.append(int(answered[-1]))
    return list(dict.fromkeys(token_id for token_id in ids if token_id is not None))
