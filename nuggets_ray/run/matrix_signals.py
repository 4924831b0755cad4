"""Signals that follow from the one-shot log-probs in scores/, read a piece at a time: of any
folder, without a model. And how repeatable they are: the same of two halves of the anchors.

Only rows that met every anchor have them: those that a race left behind met the anchors that told
most, not a sample. The spread of an anchor is that of the rows that stand for all: of a race the
pilot. Legend: N rows, A anchors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray import io
from nuggets_ray.run.anchors import read_anchors
from nuggets_ray.run.candidates import is_among
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.rounds import pilot_ids
from nuggets_ray.run.scores import read_scores
from nuggets_ray.signals.loss_ratio import loss_ratio
from nuggets_ray.signals.standardised_delta import Spread, standardised_delta

COLUMNS = ("content_id", "golden_score", "self_anchor_index", "one_shot_logprob")


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of scores/ that met every anchor: `one_shot_NA` float32 in nats per answer token, NaN
    where a row is the anchor."""

    content_id_N: np.ndarray
    one_shot_NA: np.ndarray


def read_matrix(out_dir: str) -> Iterator[Matrix]:
    """The complete rows, a piece at a time."""
    for table in read_scores(out_dir, COLUMNS):
        table = table.filter(table["golden_score"].is_valid())
        if not table.num_rows:
            continue
        lists = table["one_shot_logprob"].combine_chunks()
        one_shot_NA = lists.flatten().to_numpy().reshape(table.num_rows, -1).copy()
        own_N = pc.fill_null(table["self_anchor_index"], -1).to_numpy()
        rows = np.flatnonzero(own_N >= 0)
        one_shot_NA[rows, own_N[rows]] = np.nan
        yield Matrix(table["content_id"].to_numpy().astype(str), one_shot_NA)


def read_matrix_signals(
    out_dir: str, content_ids: np.ndarray, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """`standardised_delta` and `loss_ratio` of each content_id: (N,) float64, NaN where a row has
    not met every anchor, or nothing is known of the anchors."""
    if not io.exists(RunFolder(out_dir).anchors):
        return {name: np.full(len(content_ids), np.nan) for name in names}
    zero_shot_A = read_anchors(RunFolder(out_dir).anchors)[1].astype(np.float64)
    sd_A = _spread(out_dir, zero_shot_A) if "standardised_delta" in names else zero_shot_A
    ids, values = [np.array([], dtype=str)], {name: [np.zeros(0)] for name in names}
    for part in read_matrix(out_dir):
        ids.append(part.content_id_N)
        computed = _of_part(part.one_shot_NA, zero_shot_A, sd_A, names)
        for name in names:
            values[name].append(computed[name])
    whole = np.concatenate(ids)
    index = pc.index_in(pa.array(content_ids, pa.string()), value_set=pa.array(whole, pa.string()))
    return {
        name: np.asarray(
            pa.array(np.concatenate(parts)).take(index).to_numpy(zero_copy_only=False), np.float64
        )
        for name, parts in values.items()
    }


def _of_part(
    one_shot_NA: np.ndarray, zero_shot_A: np.ndarray, sd_A: np.ndarray, names: Sequence[str]
) -> dict[str, np.ndarray]:
    values = {}
    if "standardised_delta" in names:
        values["standardised_delta"] = standardised_delta(one_shot_NA - zero_shot_A, sd_A)
    if "loss_ratio" in names:
        values["loss_ratio"] = loss_ratio(one_shot_NA, zero_shot_A)
    return values


def _spread(out_dir: str, zero_shot_A: np.ndarray) -> np.ndarray:
    """The standard deviation of each anchor's delta, (A,)."""
    pilot = pilot_ids(out_dir)
    spread = Spread(len(zero_shot_A))
    for part in read_matrix(out_dir):
        delta_NA = part.one_shot_NA - zero_shot_A
        if pilot is not None:
            delta_NA = delta_NA[is_among(part.content_id_N, pilot.tolist())]
        spread.add(delta_NA)
    return spread.sd_A
