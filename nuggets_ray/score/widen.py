"""Rows of scores/ with the columns of added anchors, and their numbers anew.

Legend: n rows, A anchors of which S are added.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields

import numpy as np
import pyarrow as pa

from nuggets_ray.run.added import answers_of
from nuggets_ray.run.lookup import Lookup
from nuggets_ray.run.scores import SCORE_SCHEMA, complete_rows
from nuggets_ray.score.golden import GoldenScore, golden_score
from nuggets_ray.score.zero_shot import ZeroShot

LOG_PROBS, OWN = "one_shot_logprob", "self_anchor_index"


def widened_tables(out_dir: str, base: ZeroShot, keeps_self: bool) -> Iterator[pa.Table]:
    """The complete rows of scores/ as they are on all the anchors of `base`, a piece at a time;
    those that have no answer on the added ones are left out.

    `keeps_self`: a row that is an anchor counts for it too, as in the official script.
    """
    ids, one_shot_NS = answers_of(out_dir)
    lookup = Lookup(ids)
    place = {} if keeps_self else {a.content_id: i for i, a in enumerate(base.anchors)}
    for table in complete_rows(out_dir):
        index = lookup.find(table["content_id"].to_numpy())
        table, index = table.filter(pa.array(index >= 0)), index[index >= 0]
        if table.num_rows:
            own = [place.get(content_id) for content_id in table["content_id"].to_pylist()]
            yield widened(table, one_shot_NS[index], base, own)


def widened(
    table: pa.Table, one_shot_nS: np.ndarray, base: ZeroShot, own: Sequence[int | None]
) -> pa.Table:
    """Complete rows of scores/ with their log-probs `one_shot_nS` on the last S anchors of `base`
    behind those that they have; `own`: the anchor that a row is itself."""
    before = table[LOG_PROBS].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
    one_shot_nA = np.concatenate([before, one_shot_nS], axis=1, dtype=np.float32)
    scores = [
        golden_score(one_shot_A, base.zero_shot_A, index, base.noise_band_nats)
        for one_shot_A, index in zip(one_shot_nA, own, strict=True)
    ]
    columns = {item.name: [getattr(s, item.name) for s in scores] for item in fields(GoldenScore)}
    columns |= {OWN: list(own), LOG_PROBS: list(one_shot_nA)}
    for name, values in columns.items():
        place, column = table.column_names.index(name), SCORE_SCHEMA.field(name)
        table = table.set_column(place, column, pa.array(values, column.type))
    return table
