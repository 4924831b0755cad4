"""Rows of a scored run for a person to look at: each with its score, its interval, its turns, and
the anchors that it helped and hurt most.

Holds the ids and the numbers of every scored row, but texts and log-probs of the shown ones only.
Legend: N scored rows, A anchors.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray import io
from nuggets_ray.config.show import ShowConfig
from nuggets_ray.errors import UserError
from nuggets_ray.run.anchors import read_anchors
from nuggets_ray.run.candidates import candidate_batches
from nuggets_ray.run.joined import SCORE_COLUMNS, read_rows
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.row_text import distinct_texts, row_rules, turns_of
from nuggets_ray.run.scores import read_log_probs

BOUNDS = ("score_low", "score_high")


@dataclass(frozen=True, slots=True)
class AnchorDelta:
    """What a row did for an anchor: one-shot less zero-shot log-prob, in nats per answer token."""

    anchor_id: str
    text: str
    delta: float


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A scored row. `numbers`: {column of scores/: value}; `turns`: (role, text); `deltas`: one an
    anchor, best first, the row itself left out.
    """

    example_id: str
    source_path: str
    row_number: int
    numbers: dict[str, Any]
    turns: tuple[tuple[str, str], ...]
    deltas: tuple[AnchorDelta, ...]


def choose_rows(joined: pa.Table, config: ShowConfig, matching: set[str] | None) -> np.ndarray:
    """Which rows of `join_scores` (with SCORE_COLUMNS) are asked for, in order, at most show.num.

    `matching`: the example_ids that hold show.search, None where nothing is searched. Raises
    UserError where none is left.
    """
    is_asked_N = np.ones(joined.num_rows, bool)
    if config.id is not None:
        ids = (joined["example_id"], joined["content_id"])
        is_asked_N &= np.logical_or(*(pc.equal(column, config.id).to_numpy() for column in ids))
        if not is_asked_N.any():
            raise UserError(f"show.id={config.id}: no scored row has this example_id or content_id")
    if matching is not None:
        values = pa.array(sorted(matching), pa.string())
        is_asked_N &= pc.is_in(joined["example_id"], value_set=values).to_numpy()
        if not is_asked_N.any():
            raise UserError(f"show.search={config.search}: no scored row holds this text")
    if config.by not in joined.column_names:
        raise UserError(f"show.by={config.by}: the scores of this run have no such column")
    sign = -1.0 if config.order == "top" else 1.0
    measure_N = joined[config.by].to_numpy().astype(np.float64)
    mean_delta_N = joined["mean_delta"].to_numpy().astype(np.float64)
    ids_N = joined["example_id"].to_numpy().astype(str)
    # NaN, of a row that is not complete, comes last
    ranked = np.lexsort((ids_N, sign * mean_delta_N, sign * measure_N, np.isnan(measure_N)))
    chosen: np.ndarray = ranked[is_asked_N[ranked]][: config.num]
    return chosen


def rows_with_text(out_dir: str, text: str) -> set[str]:
    """The example_ids of candidates with a text in one of their values, upper and lower case alike.

    A batch at a time; only rows that may hold it are decoded.
    """
    found: set[str] = set()
    wanted = text.lower()
    for batch in candidate_batches(out_dir, ["example_id", "row_json"]):
        rows = batch["row_json"].cast(pa.string())
        # JSON may spell any character as an escape
        may_hold = pc.or_(
            pc.match_substring(rows, text, ignore_case=True), pc.match_substring(rows, "\\")
        )
        held = zip(
            batch["example_id"].filter(may_hold).to_pylist(),
            rows.filter(may_hold).to_pylist(),
            strict=True,
        )
        found |= {example_id for example_id, row in held if _holds(json.loads(row), wanted)}
    return found


def _holds(value: object, wanted: str) -> bool:
    if isinstance(value, dict):
        return any(_holds(item, wanted) for item in value.values())
    if isinstance(value, list):
        return any(_holds(item, wanted) for item in value)
    return value is not None and wanted in str(value).lower()


def read_shown(out_dir: str, joined: pa.Table, rows: Sequence[int]) -> list[ShownRow]:
    """The rows of `join_scores` (with SCORE_COLUMNS) at these places, with all that is shown."""
    table = joined.take(pa.array(rows, pa.int64()))
    texts = read_rows(out_dir, table["example_id"].to_numpy())
    rules = row_rules(out_dir)
    deltas = _deltas(out_dir, table)
    return [
        ShownRow(
            example_id=row["example_id"],
            source_path=row["source_path"],
            row_number=row["row_number"],
            numbers={name: row[name] for name in SCORE_COLUMNS if name in row},
            turns=tuple(turns_of(text, rules)),
            deltas=deltas.get(row["content_id"], ()),
        )
        for row, text in zip(table.to_pylist(), texts, strict=True)
    ]


def _deltas(out_dir: str, table: pa.Table) -> dict[str, tuple[AnchorDelta, ...]]:
    """{content_id: what each row of the table did for each anchor, best first}"""
    uri = RunFolder(out_dir).anchors
    if not io.exists(uri):
        return {}
    anchors, zero_shot_A = read_anchors(uri)
    texts = distinct_texts([anchor.text for anchor in anchors])
    # the first copy of a content has its id, and stands in scores/ from the start
    log_probs = read_log_probs(out_dir, table["content_id"].unique().to_pylist())
    deltas: dict[str, tuple[AnchorDelta, ...]] = {}
    for row in table.select(["content_id", "self_anchor_index"]).to_pylist():
        delta_A = np.array(log_probs[row["content_id"]], np.float64) - zero_shot_A
        if row["self_anchor_index"] is not None:
            delta_A[row["self_anchor_index"]] = np.nan
        order = [index for index in np.argsort(-delta_A) if np.isfinite(delta_A[index])]
        deltas[row["content_id"]] = tuple(
            AnchorDelta(anchors[index].anchor_id, texts[index], float(delta_A[index]))
            for index in order
        )
    return deltas


def score_text(row: ShownRow) -> str:
    """0.88 [0.64, 0.97]: the golden score with its 95% interval."""
    score, low, high = (row.numbers.get(name) for name in ("golden_score", *BOUNDS))
    if score is None:
        return "no golden score (not held against every anchor)"
    return f"{score:.2f}" + (f" [{low:.2f}, {high:.2f}]" if None not in (low, high) else "")
