"""The scores of a run's rows by anchor set: each set's own golden score, from the log-probs in
scores/, and signals/anchor_sets.parquet, which holds them for other programs.

A row has them once it met every anchor; one whose only anchor in a set is itself has none there.
Legend: N rows, A anchors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray import io
from nuggets_ray.config.keys import job_command
from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.mixture import SetScores, rank_mixture
from nuggets_ray.run.anchors import read_known
from nuggets_ray.run.joined import Scored
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.matrix_signals import Matrix, read_matrix
from nuggets_ray.select import Scores

SET_SCHEMA = pa.schema(
    [
        ("content_id", pa.string()),
        ("anchor_set", pa.string()),
        ("golden_score", pa.float64()),
        ("num_wins", pa.int32()),
        ("num_anchors", pa.int32()),
        ("mean_delta", pa.float64()),
    ]
)


def anchor_set_names(out_dir: str) -> list[str]:
    """The anchor sets of a run, in order; none before they are chosen."""
    return list(dict.fromkeys(anchor.anchor_set for anchor in read_known(out_dir)[0]))


def check_set_names(out_dir: str, key: str, names: Sequence[str]) -> None:
    """Raise UserError for a name that is none of the run's sets; `key` asks for them."""
    there = anchor_set_names(out_dir)
    for name in names:
        if name not in there:
            raise UserError(
                f"{key}={name}: the anchor sets of {out_dir} are {', '.join(there)}; "
                f"{job_command('score')} with it and anchors.sets, these and {name} among them, "
                "adds a set"
            )


def read_set_scores(out_dir: str, names: Sequence[str]) -> pa.Table:
    """SET_SCHEMA: a row a complete row and set of `names`. Copies have the scores of their
    content."""
    anchors, zero_shot_A = read_known(out_dir)
    of_set_A = np.array([anchor.anchor_set for anchor in anchors])
    tables = [SET_SCHEMA.empty_table()]
    seen: set[str] = set()
    for part in read_matrix(out_dir):
        is_new_N = np.array([content_id not in seen for content_id in part.content_id_N], bool)
        seen.update(part.content_id_N.tolist())
        part = Matrix(part.content_id_N[is_new_N], part.one_shot_NA[is_new_N])
        tables += [_scores_of(part, name, zero_shot_A, of_set_A == name) for name in names]
    return pa.concat_tables(tables)


def _scores_of(part: Matrix, name: str, zero_shot_A: np.ndarray, is_in_A: np.ndarray) -> pa.Table:
    _, first = np.unique(part.content_id_N, return_index=True)
    delta_NA = part.one_shot_NA[first][:, is_in_A].astype(np.float64) - zero_shot_A[is_in_A]
    num_anchors_N = (~np.isnan(delta_NA)).sum(axis=1)
    num_wins_N = (delta_NA > 0).sum(axis=1)
    with np.errstate(invalid="ignore"):
        golden_N = num_wins_N / num_anchors_N
        mean_N = np.nansum(delta_NA, axis=1) / num_anchors_N
    columns = {
        "content_id": pa.array(part.content_id_N[first], pa.string()),
        "anchor_set": pa.array([name] * len(first), pa.string()),
        "golden_score": pa.array(golden_N, from_pandas=True),
        "num_wins": pa.array(num_wins_N, pa.int32()),
        "num_anchors": pa.array(num_anchors_N, pa.int32()),
        "mean_delta": pa.array(mean_N, from_pandas=True),
    }
    return pa.table(columns, schema=SET_SCHEMA)


def of_rows(scores: pa.Table, name: str, content_ids: np.ndarray) -> Iterator[np.ndarray]:
    """golden_score and mean_delta of a set for each content_id, (N,) float64 each, NaN where it has
    none; `scores` as `read_set_scores` gives them."""
    table = scores.filter(pc.equal(scores["anchor_set"], name))
    index = pc.index_in(
        pa.array(content_ids, pa.string()), value_set=table["content_id"].combine_chunks()
    )
    for column in ("golden_score", "mean_delta"):
        values = table[column].combine_chunks().take(index)
        yield np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)


def with_set_scores(out_dir: str, scored: Scored, config: SelectConfig) -> Scored:
    """The scored rows with their scores by the sets that select.set or select.sets names. Raises
    UserError for a set that the run does not have."""
    key, names = ("select.set", [config.set]) if config.set else ("select.sets", [*config.sets])
    if not names:
        return scored
    check_set_names(out_dir, key, names)
    table = read_set_scores(out_dir, names)
    ids = scored.scores.content_id
    sets = {name: SetScores(*of_rows(table, name, ids)) for name in names}
    return replace(scored, scores=replace(scored.scores, sets=sets))


def mixture_facts(
    scores: Scores, config: SelectConfig, is_eligible_N: np.ndarray, row_K: np.ndarray
) -> list[dict[str, Any]]:
    """Of a mixture: for each set the share asked for, the kept rows that it gave, and the mean of
    all kept rows' golden scores on it; `is_eligible_N`: the rows that could be kept. [] where
    select.sets asks for none."""
    if not config.sets:
        return []
    rows, given_by = rank_mixture(
        scores.sets, config.sets, scores.example_id, is_eligible_N, config.order
    )
    of_row_N = np.full(len(scores.example_id), -1)
    of_row_N[rows] = given_by
    return [
        {
            "name": name,
            "share": share,
            "num_rows": int((of_row_N[row_K] == place).sum()),
            "mean_golden_score": float(np.nanmean(scores.sets[name].golden_score[row_K])),
        }
        for place, (name, share) in enumerate(config.sets.items())
    ]


def write_set_scores(out_dir: str) -> str | None:
    """Write signals/anchor_sets.parquet anew; None, and nothing there, of a run with one set."""
    uri = RunFolder(out_dir).set_scores
    names = anchor_set_names(out_dir)
    if len(names) < 2:
        io.delete(uri)
        return None
    io.write_table(uri, read_set_scores(out_dir, names))
    return uri
