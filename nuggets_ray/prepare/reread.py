"""The rows of a run folder that earlier code prepared, read again: may they be scored on?

Scores are joined by content_id. Rows that now have another id or other tokens would be scored
twice, or not be what the scores there are of, so going on is refused where there are any.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray import io
from nuggets_ray.config.schema import DataConfig
from nuggets_ray.data.examples import Rules
from nuggets_ray.errors import UserError
from nuggets_ray.prepare.staging import RAW_SCHEMA, stage_block
from nuggets_ray.prompts.prompt import Prompt
from nuggets_ray.run.layout import RunFolder

READ = ["content_id", "num_prompt_tokens", "num_answer_tokens", "num_dropped_tokens"]
"""What reading makes of a row."""


@dataclass(frozen=True, slots=True)
class Reread:
    """Of `num_rows` candidates `num_changed` have another id or other tokens now; `place` is the
    first of these ("" where there is none).
    """

    num_rows: int
    num_changed: int
    place: str


def is_scored_on(out_dir: str) -> bool:
    """Candidates or anchors of the folder have scores already."""
    folder = RunFolder(out_dir)
    return io.exists(folder.anchors) or bool(io.list_files(folder.scores, ".parquet"))


def reread(part: str, rules: Rules, data: DataConfig, prompt: Prompt) -> Reread:
    """Read the rows of a part of candidates/ again. One that is of no use now has not changed: it
    has a score that nothing asks for.
    """
    rows = io.read_table(part, columns=[*READ, "source_path", "row_number", "row_json"])
    raw = pa.table(
        {
            "file_index": pa.nulls(rows.num_rows, pa.int32()),
            "row_number": rows["row_number"],
            "text": rows["row_json"],
            "reason": pa.nulls(rows.num_rows, pa.string()),
        },
        schema=RAW_SCHEMA,
    )
    staged, _ = stage_block(raw, rules, data, prompt)
    is_changed = pa.array(np.zeros(rows.num_rows, bool))
    for name in READ:
        is_changed = pc.or_(is_changed, pc.fill_null(pc.not_equal(rows[name], staged[name]), False))
    changed = rows.filter(is_changed)
    place = ""
    if changed.num_rows:
        number = changed["row_number"][0].as_py() + 1
        place = f"row {number} (counted from 1) of {changed['source_path'][0]}"
    return Reread(rows.num_rows, changed.num_rows, place)


def check_read_alike(out_dir: str, parts: Sequence[Reread]) -> None:
    """Raise UserError where a row of some part has changed, with the number of such rows."""
    num_changed = sum(part.num_changed for part in parts)
    if num_changed:
        num_rows = sum(part.num_rows for part in parts)
        place = next(part.place for part in parts if part.place)
        raise UserError(
            f"out_dir={out_dir}: {num_changed} of {num_rows} rows are read otherwise now than when "
            f"they were scored (another content or other tokens), such as {place}: score into "
            "another out_dir; this one can still be selected from and trained on"
        )
