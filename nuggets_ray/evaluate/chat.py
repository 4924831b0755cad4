"""Conversations -> the token ids that a model answers, and the ids that end its answer.

The ids are those of scoring and training: everything in front of the answer in the rendering of
the whole conversation.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nuggets_ray.finetune.rows import encode_example
from nuggets_ray.prompts.prompt import Prompt
from nuggets_ray.records import Example, Message

PLACEHOLDER = "x"


def conversation(turns: Sequence[str], system: str = "") -> tuple[Message, ...]:
    """User and assistant turns by turns, the user's first and last."""
    roles = ("user", "assistant")
    head = (Message("system", system),) if system else ()
    return (*head, *(Message(roles[index % 2], text) for index, text in enumerate(turns)))


def prompt_ids(
    prompt: Prompt, messages: Sequence[Message], eos_id: int | None = None
) -> np.ndarray:
    """Token ids (T,) up to where the answer to the last message begins. `eos_id` stands behind the
    answers before it, as in training, where the template has no end of turn.
    """
    example = Example((*messages, Message("assistant", PLACEHOLDER)))
    encoding = encode_example(prompt, example, eos_id)
    is_start = np.diff(encoding.answer_mask.astype(np.int8), prepend=0) == 1
    return encoding.token_ids[: int(np.flatnonzero(is_start)[-1])]


def end_ids(prompt: Prompt, tokenizer: Any, generation_eos: int | list[int] | None) -> list[int]:
    """Tokens that end an answer: the generation settings', the tokenizer's, and the template's end
    of turn.
    """
    given = generation_eos if isinstance(generation_eos, list) else [generation_eos]
    ids = [*given, tokenizer.eos_token_id]
    rendered = prompt.anchor(Example(conversation(["x", PLACEHOLDER])))
    answered = rendered.token_ids[rendered.answer_mask]
    added = tokenizer.added_tokens_decoder  # all_special_ids lacks those without a role
    if len(answered) and (last := added.get(int(answered[-1]))) is not None and last.special:
        ids.append(int(answered[-1]))
    return list(dict.fromkeys(token_id for token_id in ids if token_id is not None))
