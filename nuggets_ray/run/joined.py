"""The candidates of a run with their scores: candidates/ and scores/ joined by content_id.

One row an id where parts overlap (a killed run leaves such). Holds ids and numbers of all
candidates but rows of the asked ones only, and reads one_shot_logprob only where it is asked for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray import io
from nuggets_ray.config.keys import job_command
from nuggets_ray.errors import UserError
from nuggets_ray.run.candidates import candidate_batches, candidate_parts
from nuggets_ray.run.posterior import read_posterior
from nuggets_ray.run.scores import score_parts
from nuggets_ray.run.skipped import read_skipped, skipped_anchor_ids
from nuggets_ray.select import Scores

SCORE_COLUMNS = (
    *("golden_score", "score_low", "score_high", "num_wins", "num_anchors"),
    *("mean_delta", "num_near_ties", "num_answer_tokens", "self_anchor_index"),
)
"""What selecting and showing rows take of scores/."""
ALWAYS_WRITTEN = frozenset(
    (
        *("golden_score", "num_wins", "num_anchors", "mean_delta"),
        *("num_answer_tokens", "one_shot_logprob"),
    )
)
"""Columns of scores/ that every version of this program has written."""
CANDIDATE_COLUMNS = ["example_id", "content_id", "source_path", "row_number"]
MAX_LISTINGS = 3


@dataclass(frozen=True, slots=True)
class Joined:
    """The scored candidate rows of a run as a table: CANDIDATE_COLUMNS, then columns of scores/;
    `num_candidates` and `num_pending` as in Scored.
    """

    table: pa.Table
    num_candidates: int
    num_pending: int


@dataclass(frozen=True, slots=True)
class Scored:
    """The scored candidate rows of a run; of `num_candidates` in all, `num_pending` still wait.
    `table` holds the rows of `scores`, in that order, with all SCORE_COLUMNS.
    """

    scores: Scores
    table: pa.Table
    num_candidates: int
    num_pending: int


def read_scored(out_dir: str) -> Scored:
    """Every candidate row whose content is scored and not excluded. Raises UserError where nothing
    is scored yet.
    """
    joined = join_scores(out_dir, SCORE_COLUMNS)
    table = joined.table
    return Scored(
        Scores(
            example_id=table["example_id"].to_numpy(),
            content_id=table["content_id"].to_numpy(),
            golden_score=table["golden_score"].to_numpy().astype(np.float64),
            mean_delta=table["mean_delta"].to_numpy().astype(np.float64),
            num_answer_tokens=table["num_answer_tokens"].to_numpy(),
            posterior_score=read_posterior(out_dir, table["content_id"].to_numpy()),
        ),
        table,
        num_candidates=joined.num_candidates,
        num_pending=joined.num_pending,
    )


def join_scores(out_dir: str, columns: Sequence[str]) -> Joined:
    """The rows of `read_scored`, in order of source and row, with these columns of scores/ (those
    that this run has). Raises UserError where nothing is scored yet.
    """
    with io.telling_damage(f"{out_dir} (scores or candidates)"):
        return _join_scores(out_dir, columns)


def _join_scores(out_dir: str, columns: Sequence[str]) -> Joined:
    scores = _read_parts(score_parts, out_dir, ["content_id", *columns])
    candidates = _read_parts(candidate_parts, out_dir, CANDIDATE_COLUMNS)
    for name in ALWAYS_WRITTEN.intersection(columns):
        scores.field(name)  # KeyError where it is not there
    if scores.num_rows == 0 or candidates.num_rows == 0:
        raise UserError(
            f"out_dir={out_dir} holds no scores yet: run {job_command('score')} with this "
            "out_dir first"
        )
    first = _first_match(candidates["example_id"], candidates["example_id"])
    candidates = candidates.filter(pa.array(first.to_numpy() == np.arange(candidates.num_rows)))
    score_row = _first_match(candidates["content_id"], scores["content_id"])
    # anchors that an earlier attempt scored, before they were excluded
    anchors = pa.array(skipped_anchor_ids(out_dir), pa.string())
    is_anchor = pc.is_in(candidates["content_id"].combine_chunks(), value_set=anchors)
    is_scored = pc.and_not(score_row.is_valid(), is_anchor)
    table = candidates.filter(is_scored)
    taken = scores.drop_columns(["content_id"]).take(score_row.filter(is_scored))
    for name in taken.column_names:
        table = table.append_column(name, taken[name])
    num_pending = _num_pending(out_dir, candidates.filter(pc.invert(is_scored)))
    return Joined(table, candidates.num_rows, num_pending)


def _first_match(values: pa.ChunkedArray, among: pa.ChunkedArray) -> pa.Array:
    """For each value, the first index where it stands in `among`, or null."""
    return pc.index_in(values.combine_chunks(), value_set=among.combine_chunks())


def _num_pending(out_dir: str, unscored: pa.Table) -> int:
    """How many of the rows without a score are not accounted for in skipped.parquet either."""
    keys = ["source_path", "row_number"]
    waiting = unscored.select(keys)
    skipped = read_skipped(out_dir).select(keys).cast(waiting.schema)
    return int(waiting.join(skipped, keys, join_type="left anti").num_rows)


def _read_parts(
    list_parts: Callable[[str], list[str]], out_dir: str, columns: list[str]
) -> pa.Table:
    """Some columns of all parts as one table, without rows where there is no part."""
    for _ in range(MAX_LISTINGS):
        try:
            tables = [io.read_table(part, columns=columns) for part in list_parts(out_dir)]
        except FileNotFoundError:
            continue  # a run that is still going has compacted its parts since they were listed
        return pa.concat_tables(tables) if tables else pa.table({name: [] for name in columns})
    raise UserError(f"out_dir={out_dir}: its parts keep changing, so run the same command again")


def read_rows(out_dir: str, example_ids: np.ndarray) -> list[bytes]:
    """row_json of the given candidates as UTF-8, in the order given."""
    rows = [b""] * len(example_ids)
    chosen = pa.array(example_ids, pa.string())
    for batch in candidate_batches(out_dir, ["example_id", "row_json"]):
        rank = pc.index_in(batch["example_id"], value_set=chosen)
        texts = batch["row_json"].filter(rank.is_valid()).cast(pa.binary())
        for index, text in zip(rank.drop_null().to_pylist(), texts.to_pylist(), strict=True):
            rows[index] = text
    return rows
