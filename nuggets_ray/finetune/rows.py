"""Training rows: examples through the scoring's prompt, as flat arrays of token ids.

A row is rendered alone, as a chat template renders it where the model is served; what is read in it
and which tokens are answer is as in scoring. Its answer mask is the loss mask: every assistant turn
that trains with what ends it (answer_end.py), and nothing else.

Legend: N rows, T tokens of all rows.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nuggets_ray.data.counts import FieldCounts
from nuggets_ray.data.examples import Rules
from nuggets_ray.data.rows import BadRow, decode_row
from nuggets_ray.data.values import SkipRow
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.answer_end import AnswerEnd
from nuggets_ray.prompts.prompt import Prompt, answered
from nuggets_ray.records import Encoding, Example


@dataclass(frozen=True, slots=True)
class TrainRows:
    """N rows: row n is tokens start_N1[n] to start_N1[n + 1] of the flat arrays.

    `token_ids_T` is int32, `answer_mask_T` bool, `content_id_N` S32. A row's first token is never
    an answer: nothing predicts it.
    """

    token_ids_T: np.ndarray
    answer_mask_T: np.ndarray
    start_N1: np.ndarray
    content_id_N: np.ndarray

    @property
    def num_rows(self) -> int:
        return len(self.content_id_N)

    @property
    def length_N(self) -> np.ndarray:
        """Tokens of each row."""
        lengths: np.ndarray = np.diff(self.start_N1)
        return lengths

    @property
    def num_answer_tokens_N(self) -> np.ndarray:
        """Answer tokens of each row: those the loss is on."""
        counted = np.concatenate([[0], np.cumsum(self.answer_mask_T)])
        counts: np.ndarray = counted[self.start_N1[1:]] - counted[self.start_N1[:-1]]
        return counts

    def row(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Token ids (T,) and answer mask (T,) of one row."""
        span = slice(self.start_N1[index], self.start_N1[index + 1])
        return self.token_ids_T[span], self.answer_mask_T[span]

    def take(self, rows: np.ndarray) -> "TrainRows":
        """The rows at these indices, in their order."""
        pairs = [self.row(int(row)) for row in rows]
        return _flat([ids for ids, _ in pairs], [m for _, m in pairs], self.content_id_N[rows])

    def digest(self) -> str:
        """A hash of the rows in their order: the same digest, the same training data."""
        parts = (self.token_ids_T, self.answer_mask_T, self.start_N1)
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Some rows, and what became of the others: too long, cut, or not to be used, by reason."""

    rows: TrainRows
    too_long: tuple[tuple[str, int], ...] = ()
    """(excerpt, tokens) of the rows over the limit, whether they were cut, left out or kept."""
    skipped: Mapping[str, int] | None = None
    fields: FieldCounts = field(default_factory=FieldCounts)
    """The fields that the rows were read from, and those that were left."""


def encode_example(prompt: Prompt, example: Example, end: AnswerEnd) -> Encoding:
    """One training row, with the `end` of each answer in the answer mask.

    A turn that does not train ends in the same way, outside the mask. An answer that was cut gets
    no end: it did not end there. An answer of zero tokens cannot be.
    """
    alone = prompt.alone(example)
    is_cut = alone.num_dropped_tokens > 0
    ids, mask = end.put_into(alone.token_ids, alone.answer_mask, is_cut)
    if not all(message.trains for message in example.messages):
        every = prompt.alone(_all_training(answered(example)))
        if np.array_equal(every.token_ids, alone.token_ids):  # cut at the same turn
            ids, mask = end.put_into(every.token_ids, every.answer_mask, is_cut)
            before, after = _runs(every.answer_mask), _runs(mask)
            for (start, _), (first, stop) in zip(before, after, strict=True):
                mask[first:stop] &= alone.answer_mask[start]
    if len(mask):
        mask[0] = False
    return Encoding(ids, mask, alone.num_dropped_tokens)


def _all_training(example: Example) -> Example:
    return replace(example, messages=tuple(replace(m, trains=True) for m in example.messages))


def _runs(mask_T: np.ndarray) -> np.ndarray:
    """The stretches of a mask, each from its first token to one past its last: shape (R, 2)."""
    runs: np.ndarray = np.flatnonzero(np.diff(mask_T, prepend=False, append=False)).reshape(-1, 2)
    return runs


def encode_texts(
    texts: Sequence[str | BadRow],
    prompt: Prompt,
    limited: Prompt,
    rules: Rules,
    end: AnswerEnd,
    max_tokens: int | None,
    on_too_long: str,
) -> Encoded:
    """Rows of JSON text (a BadRow where there is none) as training rows; `limited` is the prompt
    that cuts to `max_tokens`.

    A row that the format cannot take is skipped and counted. One over `max_tokens` is left out
    under skip and cut under truncate; either way it is told.
    """
    encodings, content_ids, too_long = [], [], []
    skipped: Counter[str] = Counter()
    fields = FieldCounts()
    for text in texts:
        try:
            read = rules.read(text if isinstance(text, BadRow) else decode_row(text))
        except SkipRow as skip:
            skipped[skip.reason] += 1
            continue
        fields.add(read)
        example = read.example
        encoding = encode_example(prompt, example, end)
        if max_tokens is not None and encoding.num_tokens > max_tokens:
            too_long.append((str(text)[:80], encoding.num_tokens))
            if on_too_long != "truncate":
                continue
            cut = encode_example(limited, example, end)  # ends of inner turns may be too many
            encoding = Encoding(cut.token_ids[:max_tokens], cut.answer_mask[:max_tokens])
        if encoding.num_answer_tokens == 0:
            skipped["no_answer_left"] += 1
            continue
        encodings.append(encoding)
        content_ids.append(example.content_id)
    ids = np.array(content_ids, "S32")
    arrays = [e.token_ids for e in encodings], [e.answer_mask for e in encodings]
    return Encoded(_flat(*arrays, ids), tuple(too_long), skipped, fields)


def join(parts: Iterable[Encoded]) -> Encoded:
    """Several blocks of rows as one, in order."""
    blocks = list(parts)
    rows = [block.rows for block in blocks]
    lengths = np.concatenate([np.zeros(0, np.int64), *(r.length_N for r in rows)])
    joined = TrainRows(
        np.concatenate([np.zeros(0, np.int32), *(r.token_ids_T for r in rows)]),
        np.concatenate([np.zeros(0, bool), *(r.answer_mask_T for r in rows)]),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([np.zeros(0, "S32"), *(r.content_id_N for r in rows)]),
    )
    skipped: Counter[str] = Counter()
    fields = FieldCounts()
    for block in blocks:
        skipped.update(block.skipped or {})
        fields.merge(block.fields)
    too_long = tuple(row for block in blocks for row in block.too_long)
    return Encoded(joined, too_long, skipped, fields)


def check_lengths(encoded: Encoded, max_tokens: int | None, on_too_long: str) -> None:
    """Raise UserError for rows over the limit under finetune.on_too_long=error."""
    if not encoded.too_long or on_too_long != "error":
        return
    excerpt, longest = max(encoded.too_long, key=lambda row: row[1])
    num_rows = len(encoded.too_long) + encoded.rows.num_rows
    raise UserError(
        f"finetune.max_row_tokens: {len(encoded.too_long)} of {num_rows} rows are longer than "
        f"{max_tokens} tokens, the longest has {longest} ({excerpt}): set "
        "finetune.on_too_long=skip or truncate, or raise the limit if the model's context allows"
    )


def split_held_out(rows: TrainRows, held_out: np.ndarray) -> tuple[TrainRows, TrainRows]:
    """(training rows, held-out rows) by content_id: copies of a held-out row do not train."""
    is_held_N = np.isin(rows.content_id_N, held_out)
    return rows.take(np.flatnonzero(~is_held_N)), rows.take(np.flatnonzero(is_held_N))


def _flat(
    ids: Sequence[np.ndarray], masks: Sequence[np.ndarray], content_ids: np.ndarray
) -> TrainRows:
    lengths = np.array([len(row) for row in ids], np.int64)
    return TrainRows(
        np.concatenate([np.zeros(0, np.int32), *(row.astype(np.int32) for row in ids)]),
        np.concatenate([np.zeros(0, bool), *masks]),
        np.concatenate([[0], np.cumsum(lengths)]),
        content_ids,
    )
