"""What an answer ends with: the tokens that a model is trained to end its answers by, and at which
it is to be stopped.

The end is the first added token behind an answer in the template's own rendering, whether flagged
special or not, with the text in front of it (Llama-2's space, a line break). A template that
renders none gets the tokenizer's end-of-sequence token after each answer, or the model would not
learn to stop.

Legend: T tokens of a row.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from nuggets_ray.errors import UserError
from nuggets_ray.prompts.prompt import Prompt
from nuggets_ray.records import Example, Message

PROBE = Example((Message("user", "x"), Message("assistant", "x")))


@dataclass(frozen=True, slots=True)
class AnswerEnd:
    """`token_id` ends an answer. `tail_ids`: what the template renders behind an answer up to it,
    and the answer mask of scoring does not hold. `is_inserted`: the template renders none.
    """

    token_id: int
    tail_ids: tuple[int, ...] = ()
    is_inserted: bool = False

    def put_into(
        self, ids_T: np.ndarray, answer_mask_T: np.ndarray, is_cut: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ids and the answer mask of a row with the end of each answer in it. An answer that
        was cut gets none: it did not end there.
        """
        ends = np.flatnonzero(answer_mask_T & ~np.append(answer_mask_T[1:], False)) + 1
        if self.is_inserted:
            if is_cut:
                ends = ends[ends < len(ids_T)]
            return np.insert(ids_T, ends, self.token_id), np.insert(answer_mask_T, ends, True)
        answer_mask_T = answer_mask_T.copy()
        for end in ends:
            # a part of the tail may be one token with the answer's last characters
            for start in range(len(self.tail_ids)):
                rest = self.tail_ids[start:]
                if tuple(ids_T[end : end + len(rest)].tolist()) == rest:
                    answer_mask_T[end : end + len(rest)] = True
                    break
        return ids_T, answer_mask_T


def find_answer_end(prompt: Prompt, tokenizer: Any, model_path: str) -> AnswerEnd:
    """What ends an answer under this prompt. Raises UserError where neither the template nor the
    tokenizer has anything that could.
    """
    rendered = prompt.anchor(PROBE)
    last = int(np.flatnonzero(rendered.answer_mask)[-1])
    added = tokenizer.added_tokens_decoder
    if int(rendered.token_ids[last]) in added:
        return AnswerEnd(int(rendered.token_ids[last]))
    behind = [int(token_id) for token_id in rendered.token_ids[last + 1 :]]
    for index, token_id in enumerate(behind):
        if token_id in added:
            return AnswerEnd(token_id, tuple(behind[: index + 1]))
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"model.path={model_path}: its tokenizer has no end-of-sequence token, and its "
            "template ends no answer, so a model could not learn to stop: set eos_token in its "
            "tokenizer_config.json"
        )
    return AnswerEnd(int(tokenizer.eos_token_id), is_inserted=True)
