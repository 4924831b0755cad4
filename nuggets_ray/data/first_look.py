"""A first look at the rows: does the format fit, and are there as many as are asked for? A second
of reading before a job that takes hours.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from nuggets_ray.config.schema import DataConfig
from nuggets_ray.data.examples import (
    ParsedRow,
    Rules,
    file_rows,
    find_rules,
    parse_rows,
    propose,
)
from nuggets_ray.data.inputs import InputFile
from nuggets_ray.data.values import SkipRow
from nuggets_ray.errors import UserError
from nuggets_ray.records import Example

NUM_ROWS = 100
MAX_ROWS = 2000
MAX_FIELDS = 12
MAX_NAME_CHARS = 40


@dataclass(frozen=True, slots=True)
class FirstLook:
    """The first rows of the data. `num_distinct`: different contents among them; `is_whole`: there
    are no further rows.
    """

    num_rows: int
    num_distinct: int
    is_whole: bool


def first_look(config: DataConfig, files: Sequence[InputFile], num_wanted: int = 0) -> FirstLook:
    """Read the first rows of the files: enough to see whether there are `num_wanted` different ones
    (at most MAX_ROWS).

    Raises UserError where the format cannot be recognised, or none of the rows can be read by it.
    """
    rules = find_rules(config, files)
    num_read = min(MAX_ROWS, max(NUM_ROWS, 2 * num_wanted))
    limit = num_read if config.limit is None else min(config.limit, num_read)
    rows = list(islice(file_rows(files), limit + 1))
    is_whole = len(rows) <= limit or config.limit == limit
    parsed = list(parse_rows(rows[:limit], rules))
    contents = {result.content_id for _, result in parsed if isinstance(result, Example)}
    if parsed and not contents and config.max_skipped_fraction < 1:
        raise UserError(_none_can_be_read(config, rules, parsed))
    return FirstLook(len(parsed), len(contents), is_whole)


def _none_can_be_read(config: DataConfig, rules: Rules, parsed: Sequence[ParsedRow]) -> str:
    reasons = Counter(
        ", ".join(part for part in (result.reason, result.detail) if part)
        for _, result in parsed
        if isinstance(result, SkipRow)
    )
    told = "; ".join(f"{count} {reason}" for reason, count in reasons.most_common(2))
    values = [row.value for row, _ in parsed]
    names = {str(name) for value in values if isinstance(value, dict) for name in value}
    fields = ", ".join(name[:MAX_NAME_CHARS] for name in sorted(names)[:MAX_FIELDS])
    first = f"the first {len(parsed)} rows of data.path={config.path}"
    if config.columns or config.format != "auto":
        given = f"columns={config.columns}" if config.columns else f"format={config.format}"
        wrong, way_out = f"data.{given}: none of {first} can be read so", "give another"
    else:
        wrong, way_out = f"none of {first}, read as {rules.format}, can be scored", "mend the data"
    setting = propose(values, rules)
    return (
        f"{wrong} ({told}): "
        + (f"set {setting}" if setting else way_out)
        + (f"; the fields of the rows are {fields}" if fields else "")
    )
