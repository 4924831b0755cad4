"""holdout.parquet: the rows that no model is trained on, and how the rows of a run are read.

Ids are hashes of what is read in a row, so those in the file hold for the code that wrote it. Where
they meet rows that are read now, they are computed anew from the rows themselves.
"""

import numpy as np
import pyarrow as pa

from nuggets_ray import io
from nuggets_ray.config.keys import job_command
from nuggets_ray.data.examples import Rules
from nuggets_ray.data.rows import decode_row
from nuggets_ray.data.values import SkipRow
from nuggets_ray.errors import UserError
from nuggets_ray.run.job_configs import read_config
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import read_manifest


def read_rules(out_dir: str) -> Rules:
    """How the scored run's rows are read. Raises UserError where its data was not read to the
    end.
    """
    manifest, scored = read_manifest(out_dir) or {}, read_config(out_dir, "score")
    if scored is None or "data_format" not in manifest:
        raise UserError(
            f"out_dir={out_dir} holds rows of a run that was ended before its data was read: go on "
            f"with it first, with {job_command('score')}"
        )
    data = scored["data"]
    return Rules(manifest["data_format"], data["columns"], data.get("roles") or {})


def held_out_texts(out_dir: str) -> list[str] | None:
    """The held-out rows as JSON text, None before there is a hold-out."""
    uri = RunFolder(out_dir).held_out
    if not io.exists(uri):
        return None
    texts: list[str] = io.read_table(uri, columns=["row_json"])["row_json"].to_pylist()
    return texts


def held_out_ids(out_dir: str, rules: Rules) -> np.ndarray:
    """The content_ids of the held-out rows as they are read now, shape (H,) S32: as stored where a
    row holds no example any more.
    """
    table = io.read_table(RunFolder(out_dir).held_out, columns=["content_id", "row_json"])
    return content_ids(table, rules)


def content_ids(table: pa.Table, rules: Rules) -> np.ndarray:
    """The content_ids (N,) S32 of rows of candidates/ or holdout.parquet as they are read now."""
    stored, texts = table["content_id"].to_pylist(), table["row_json"].to_pylist()
    ids = [_content_id(text, rules) or old for old, text in zip(stored, texts, strict=True)]
    return np.array(ids, "S32")


def _content_id(text: str, rules: Rules) -> str | None:
    try:
        return rules.parse(decode_row(text)).content_id
    except SkipRow:
        return None
