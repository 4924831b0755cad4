"""Anchors that are given: the first anchors.num rows of a file, in any format that data.path takes.

An anchor is part of every score, so a bad row is an error here and never skipped.
"""

import logging
from collections.abc import Iterable
from itertools import islice

from nuggets_ray.config.schema import AnchorsConfig
from nuggets_ray.data.examples import ParsedRow, file_rows, parse_stream
from nuggets_ray.data.inputs import InputFile, list_inputs
from nuggets_ray.data.values import SkipRow
from nuggets_ray.errors import UserError
from nuggets_ray.records import Example

logger = logging.getLogger(__name__)


def load_examples(config: AnchorsConfig) -> list[Example]:
    """The first `config.num` rows of the anchor file (None: all) as examples, in file order.

    A row whose content came before is left out, with a warning. Raises UserError for a missing
    path, a file with fewer rows than asked for, or a bad row, naming file, row (counted from 1) and
    reason.
    """
    rows = list(islice(file_rows(anchor_files(config)), config.num))
    if not rows:
        raise UserError(f"anchors.path={config.path} has no rows: give a file with at least one")
    if config.num is not None and len(rows) < config.num:
        raise UserError(
            f"anchors.num={config.num} is more than the {len(rows)} rows of "
            f"anchors.path={config.path}: lower it, or set anchors.num=null for all of them"
        )
    rules, parsed = parse_stream(rows, config.format, config.columns, config.roles, "anchors")
    return distinct_examples(parsed, rules.format)


def distinct_examples(rows: Iterable[ParsedRow], format: str) -> list[Example]:
    """The examples in order; one whose content came before is left out, with a warning. Raises
    UserError for a row that is none.
    """
    examples: dict[str, Example] = {}
    for row, example in rows:
        if isinstance(example, SkipRow):
            raise UserError(
                f"anchors.path: {row.place} cannot be an anchor ({example.reason}, read as "
                f"{format}): mend or remove it"
            ) from example
        if example.content_id in examples:
            logger.warning(
                "anchors.path: %s has the content of an earlier row and is left out", row.place
            )
        examples.setdefault(example.content_id, example)
    return list(examples.values())


def anchor_files(config: AnchorsConfig) -> list[InputFile]:
    """The files that anchors.path names. Raises UserError where it is missing or there are none."""
    if not config.path:
        raise UserError("anchors.path is missing: anchors=file needs a file of instruction rows")
    return list_inputs(config.path, "anchors.path")
