"""Read the rows of a fine-tune as text, and encode them in tasks on Ray.

The driver keeps flat arrays of token ids, five bytes a token.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import ray

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import Config
from nuggets_ray.data.counts import told, warnings
from nuggets_ray.data.inputs import InputFile, read_texts
from nuggets_ray.data.rows import BadRow
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.engine import no_rows
from nuggets_ray.finetune.rows import (
    Encoded,
    TrainRows,
    check_lengths,
    encode_texts,
    join,
    split_held_out,
)
from nuggets_ray.finetune.source import Source, prompts
from nuggets_ray.prepare.ids import draw_held_out
from nuggets_ray.run.held_out import held_out_ids, held_out_texts, read_rules

logger = logging.getLogger(__name__)

BLOCK_ROWS = 1000
MAX_BLOCKS_AHEAD = 16


@dataclass(frozen=True, slots=True)
class SplitRows:
    """The rows that train and those held out, and what became of the others."""

    train: TrainRows
    held_out: TrainRows
    encoded: Encoded


def read_train_rows(config: Config, source: Source) -> SplitRows:
    """Read and encode the rows on Ray; needs a Ray that runs.

    Raises UserError for rows over the limit, for too many that cannot be used, and for none left.
    """
    encoded = _encode(source, islice(_texts(source.files), source.limit), config.finetune)
    check_lengths(encoded, source.max_tokens, config.finetune.on_too_long)
    num_skipped = sum((encoded.skipped or {}).values())
    num_rows = num_skipped + encoded.rows.num_rows
    if source.selection is None:  # of a selection the scoring has told it
        _tell_fields(encoded, source)
    if num_skipped:
        logger.warning("%d of %d rows cannot be used: %s", num_skipped, num_rows, encoded.skipped)
    if num_skipped > config.data.max_skipped_fraction * num_rows:
        raise UserError(
            f"data.max_skipped_fraction={config.data.max_skipped_fraction}: {num_skipped} of "
            f"{num_rows} rows of {source.description} cannot be used ({encoded.skipped}): mend "
            "them, set data.format, or raise it"
        )
    if encoded.too_long:
        logger.warning(
            "%d of %d rows are longer than %d tokens (finetune.on_too_long=%s)",
            *(len(encoded.too_long), num_rows, source.max_tokens, config.finetune.on_too_long),
        )
    rows = _hold_out(config, source, encoded)
    if rows.train.num_rows == 0:
        raise UserError(f"{source.description} leaves no row to train on: give more rows")
    return rows


def _tell_fields(encoded: Encoded, source: Source) -> None:
    read, left = encoded.fields.read, encoded.fields.left
    logger.info("%s", told(read, left))
    for sentence in warnings(read, left, source.rules.columns):
        logger.warning("%s", sentence)


def _hold_out(config: Config, source: Source, encoded: Encoded) -> SplitRows:
    """The run's own held-out rows if it has some, else data.holdout rows drawn by hash."""
    texts = held_out_texts(config.out_dir)
    if texts is not None:
        rules = read_rules(config.out_dir)
        train, _ = split_held_out(encoded.rows, held_out_ids(config.out_dir, rules))
        as_scored = replace(source, rules=rules)
        held = _encode(as_scored, iter(texts), config.finetune).rows if texts else no_rows()
        return SplitRows(train, held, encoded)
    if config.data.holdout and source.selection is None:
        drawn = draw_held_out(encoded.rows.content_id_N, config.data.holdout, config.seed)
        return SplitRows(*split_held_out(encoded.rows, drawn), encoded)
    return SplitRows(encoded.rows, no_rows(), encoded)


def _texts(files: tuple[InputFile, ...]) -> Iterator[str | BadRow]:
    for file in files:
        yield from read_texts(file)


def _encode(source: Source, texts: Iterator[str | BadRow], config: FinetuneConfig) -> Encoded:
    arguments = (source, config.on_too_long)
    pending: list[ray.ObjectRef[Any]] = []
    blocks = []
    while block := list(islice(texts, BLOCK_ROWS)):
        pending.append(_encode_block.remote(block, *arguments))
        if len(pending) > MAX_BLOCKS_AHEAD:
            blocks.append(ray.get(pending.pop(0)))
    return join([*blocks, *ray.get(pending)])


@ray.remote
def _encode_block(texts: list[str | BadRow], source: Source, on_too_long: str) -> Encoded:
    prompt, limited, end = prompts(source.model, source.prompt, source.max_tokens)
    limits = (end, source.max_tokens, on_too_long)
    return encode_texts(texts, prompt, limited, source.rules, *limits)
