"""The hashed word 5-grams of rows, by which near-duplicates are found."""

import json
import logging

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray.curate.near_duplicates import hashes_of
from nuggets_ray.data.examples import Rules
from nuggets_ray.data.shingles import shingles
from nuggets_ray.data.values import SkipRow
from nuggets_ray.prompts.spelled import plain_text
from nuggets_ray.run.candidates import candidate_batches
from nuggets_ray.run.row_text import row_rules

logger = logging.getLogger(__name__)


def read_row_hashes(out_dir: str, example_ids: np.ndarray) -> list[np.ndarray]:
    """The hashes of each row's text, in the order given. Holds a batch of texts at a time."""
    rules = row_rules(out_dir)
    if rules is None:
        logger.warning(
            "out_dir=%s does not say how its rows are read: near-duplicates are those of their "
            "JSON, names of fields included",
            out_dir,
        )
    hashes = [np.empty(0, np.uint32)] * len(example_ids)
    chosen = pa.array(example_ids, pa.string())
    num_left = len(hashes)
    for batch in candidate_batches(out_dir, ["example_id", "row_json"]):
        rank = pc.index_in(batch["example_id"], value_set=chosen)
        texts = batch["row_json"].filter(rank.is_valid()).to_pylist()
        for index, text in zip(rank.drop_null().to_pylist(), texts, strict=True):
            hashes[index] = hashes_of(shingles(_plain_text(text, rules)))
        num_left -= len(texts)
        if not num_left:
            break
    return hashes


def _plain_text(row_json: str, rules: Rules | None) -> str:
    row = json.loads(row_json)
    if rules is not None:
        try:
            return plain_text(rules.parse(row))
        except SkipRow:
            pass  # the run read it otherwise
    return json.dumps(row, ensure_ascii=False)
