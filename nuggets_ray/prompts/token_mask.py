"""Text segments -> token ids with the exact answer mask.

The segments of an example are joined and tokenised once; the mask comes from character offsets, and
a token across the border of an answer belongs to the answer. Text that comes from the data is never
taken for a special token: `<|im_end|>` inside a user's text is encoded as the plain characters.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from tokenizers import AddedToken, Tokenizer

from nuggets_ray.errors import UserError


@dataclass(frozen=True, slots=True)
class TextSegment:
    """A stretch of text: the template's own (the default), or the data's; `is_answer`: its tokens
    are scored.
    """

    text: str
    is_data: bool = False
    is_answer: bool = False


def copy_backend(tokenizer: Any) -> Tokenizer:
    """A copy of the tokenizer's Rust backend that neither cuts nor pads; UserError where there is
    none.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise UserError(
            f"model.path: its tokenizer ({type(tokenizer).__name__}) has no tokenizer.json, "
            "without which the answer cannot be found exactly: convert it to a fast tokenizer"
        )
    copied = Tokenizer.from_str(backend.to_str())
    copied.no_truncation()
    copied.no_padding()
    return copied


class SegmentTokenizer:
    """Tokenises segments. Ids equal the tokenizer's own wherever the data holds no special-token
    text.

    One tokenisation cannot tell a template's special token from the same text in the data. So
    special tokens are switched off in a copy of the tokenizer, and each gets a double: a marker
    with the same stripping rules, put into the template's own text only, whose id is mapped back.
    The markers hold a random word, so no data contains one.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._backend = copy_backend(tokenizer)
        specials = {
            token_id: token
            for token_id, token in self._backend.get_added_tokens_decoder().items()
            if token.special
        }
        self._backend.encode_special_tokens = True
        word = secrets.token_hex(4)
        markers = {token_id: f"\ufdd0{word}{token_id}\ufdd1" for token_id in specials}
        self._backend.add_tokens([_double(specials[i], marker) for i, marker in markers.items()])
        self._plain_ids = np.arange(self._backend.get_vocab_size() + len(markers), dtype=np.int64)
        for token_id, marker in markers.items():
            self._plain_ids[self._backend.token_to_id(marker)] = token_id
        self._markers = {specials[i].content: marker for i, marker in markers.items()}
        longest_first = sorted(self._markers, key=len, reverse=True)
        # Without special tokens the pattern must match nothing at all.
        self.special_pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._mark = lru_cache(maxsize=4096)(self._mark_specials)

    def _mark_specials(self, text: str) -> str:
        return self.special_pattern.sub(lambda match: self._markers[match.group()], text)

    def leading_special_ids(self) -> np.ndarray:
        """The ids (int64) that the tokenizer puts in front of every text by default: BOS, or
        nothing.
        """
        encoded = self._backend.encode("a")
        return np.array(encoded.ids[: encoded.special_tokens_mask.index(0)], dtype=np.int64)

    def encode(self, segments: Sequence[TextSegment]) -> tuple[np.ndarray, np.ndarray]:
        """Token ids of shape (T,) int64 and answer mask of shape (T,) bool of the joined
        segments.
        """
        texts = [s.text if s.is_data else self._mark(s.text) for s in segments]
        encoded = self._backend.encode("".join(texts), add_special_tokens=False)
        token_ids = self._plain_ids[np.array(encoded.ids, dtype=np.int64)]
        answer_mask = np.zeros(len(token_ids), dtype=bool)
        if len(token_ids) == 0:
            return token_ids, answer_mask
        starts, ends = np.array(encoded.offsets, dtype=np.int64).T
        position = 0
        for text, segment in zip(texts, segments, strict=True):
            stop = position + len(text)
            if segment.is_answer:
                # Everything between the first and the last token that reach into the answer: a
                # tokenizer that trims spaces off its offsets gives a token of spaces an empty span,
                # which overlaps nothing.
                first = np.searchsorted(ends, position, side="right")
                last = np.searchsorted(starts, stop, side="left")
                answer_mask[first:last] = True
            position = stop
        return token_ids, answer_mask


def _double(token: AddedToken, marker: str) -> AddedToken:
    return AddedToken(
        marker,
        single_word=token.single_word,
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        normalized=token.normalized,
        special=False,
    )
