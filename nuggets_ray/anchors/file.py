"""Anchors from a file: its first anchors.num rows, in any format that data.path takes.

An anchor is part of every score, so a bad row is an error here and never skipped.
"""

import logging
from collections.abc import Iterator, Sequence
from itertools import islice

from nuggets_ray.config.schema import AnchorsConfig
from nuggets_ray.data.formats import SkipRow, parse, resolve_format
from nuggets_ray.data.inputs import InputFile, list_inputs, read_rows
from nuggets_ray.data.rows import BadRow
from nuggets_ray.demo.files import anchors_path
from nuggets_ray.errors import UserError
from nuggets_ray.records import Example

logger = logging.getLogger(__name__)

NUM_FORMAT_ROWS = 100


def load_examples(config: AnchorsConfig) -> list[Example]:
    """The first `config.num` rows of the anchor file (None: all) as examples, in file order.

    A row whose content came before is left out, with a warning. Raises UserError for a missing
    path, a file with fewer rows than asked for, or a bad row, naming file, row (counted from 1) and
    reason.
    """
    rows = list(islice(_numbered_rows(anchor_files(config)), config.num))
    if not rows:
        raise UserError(f"anchors.path={config.path} has no rows: give a file with at least one")
    if config.num is not None and len(rows) < config.num:
        raise UserError(
            f"anchors.num={config.num} is more than the {len(rows)} rows of "
            f"anchors.path={config.path}: lower it, or set anchors.num=null for all of them"
        )
    sample = [row for _, row in rows[:NUM_FORMAT_ROWS]]
    format_name = resolve_format(config.format, config.columns, sample, section="anchors")
    examples: dict[str, Example] = {}
    for place, row in rows:
        try:
            example = parse(row, format_name, config.columns)
        except SkipRow as error:
            reason = row.reason if isinstance(row, BadRow) else error.reason
            raise UserError(
                f"anchors.path: {place} cannot be an anchor ({reason}, read as {format_name}): "
                "mend or remove it"
            ) from error
        if example.content_id in examples:
            logger.warning(
                "anchors.path: %s has the content of an earlier row and is left out", place
            )
        examples.setdefault(example.content_id, example)
    return list(examples.values())


def anchor_files(config: AnchorsConfig) -> list[InputFile]:
    """The files that anchors.path names. Raises UserError where it is missing or there are none."""
    if not config.path:
        raise UserError("anchors.path is missing: anchors=file needs a file of instruction rows")
    path = anchors_path() if config.path == "demo" else config.path
    return list_inputs(path, key="anchors.path")


def _numbered_rows(files: Sequence[InputFile]) -> Iterator[tuple[str, object]]:
    for file in files:
        for number, row in enumerate(read_rows(file), start=1):
            yield f"row {number} (counted from 1) of {file.path}", row
