"""Conversations -> the token ids that a model answers, and the ids that end its answer.

The ids are those of scoring and training: everything in front of the answer in the rendering of
the whole conversation.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nuggets_ray.finetune.answer_end import AnswerEnd
from nuggets_ray.finetune.rows import encode_example
from nuggets_ray.prompts.prompt import Prompt
from nuggets_ray.records import Example, Message

PLACEHOLDER = "x"


def conversation(turns: Sequence[str], system: str = "") -> tuple[Message, ...]:
    """User and assistant turns by turns, the user's first and last."""
    roles = ("user", "assistant")
    head = (Message("system", system),) if system else ()
    return (*head, *(Message(roles[index % 2], text) for index, text in enumerate(turns)))


def prompt_ids(prompt: Prompt, messages: Sequence[Message], end: AnswerEnd) -> np.ndarray:
    """Token ids (T,) up to where the answer to the last message begins; the answers before it have
    their `end`, as in training.
    """
    example = Example((*messages, Message("assistant", PLACEHOLDER)))
    encoding = encode_example(prompt, example, end)
    is_start = np.diff(encoding.answer_mask.astype(np.int8), prepend=0) == 1
    return encoding.token_ids[: int(np.flatnonzero(is_start)[-1])]


def end_ids(end: AnswerEnd, tokenizer: Any, generation_eos: int | list[int] | None) -> list[int]:
    """Tokens that end an answer: the generation settings', the tokenizer's, and what the prompt
    ends an answer with.
    """
    given = generation_eos if isinstance(generation_eos, list) else [generation_eos]
    ids = [*given, tokenizer.eos_token_id, end.token_id]
    return list(dict.fromkeys(token_id for token_id in ids if token_id is not None))
