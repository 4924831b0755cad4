"""The deltas of a scored run that a study may rest on: of rows that met every anchor, as many as
stand for all.

After a race those are its pilot alone, as the other complete rows are the good ones.

Legend: N rows, A anchors.
"""

from dataclasses import dataclass

import numpy as np

from nuggets_ray.config.keys import job_command
from nuggets_ray.errors import UserError
from nuggets_ray.run.anchors import read_anchors
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import read_manifest
from nuggets_ray.run.matrix_signals import read_matrix
from nuggets_ray.run.rounds import pilot_ids
from nuggets_ray.run.scores import read_scores
from nuggets_ray.schedule.replay import race_hashes

MIN_ROWS, MIN_ANCHORS = 20, 4


@dataclass(frozen=True, slots=True)
class DeltaMatrix:
    """`delta_NA` in nats per answer token, NaN where a row is the anchor itself, of the rows
    `content_id_N`; out of `num_complete` that met every anchor. `is_pilot`: a race was run, and
    these are its random rows. `is_partial`: the scoring has not ended."""

    content_id_N: np.ndarray
    delta_NA: np.ndarray
    num_complete: int
    is_pilot: bool
    is_partial: bool

    @property
    def num_rows(self) -> int:
        return int(self.delta_NA.shape[0])

    @property
    def num_anchors(self) -> int:
        return int(self.delta_NA.shape[1])


def read_deltas(out_dir: str, max_rows: int, seed: int) -> DeltaMatrix:
    """At most `max_rows` rows, those with the smallest seeded hashes.

    Raises UserError where nothing is scored, or too little to tell anything.
    """
    complete_ids, has_eliminated = _complete_ids(out_dir)
    manifest = read_manifest(out_dir) or {}
    is_partial = manifest.get("stages", {}).get("score", {}).get("status") != "done"
    pilot = pilot_ids(out_dir)
    if pilot is not None and not (has_eliminated or is_partial):
        pilot = None  # every row was completed since
    usable = complete_ids if pilot is None else np.intersect1d(complete_ids, pilot)
    if len(usable) > max_rows:
        usable = usable[np.argsort(race_hashes(usable, seed), kind="stable")[:max_rows]]
    num_anchors = len(read_anchors(RunFolder(out_dir).anchors)[1]) if len(usable) else 0
    if len(usable) < MIN_ROWS or num_anchors < MIN_ANCHORS:
        raise UserError(
            f"out_dir={out_dir} holds {len(usable)} rows that met every one of {num_anchors} "
            f"anchors, and a study takes {MIN_ROWS} rows and {MIN_ANCHORS} anchors: score more "
            f"with {job_command('score')} and this out_dir"
        )
    ids_N, delta_NA = _deltas(out_dir, np.sort(usable))
    return DeltaMatrix(ids_N, delta_NA, len(complete_ids), pilot is not None, is_partial)


def _complete_ids(out_dir: str) -> tuple[np.ndarray, bool]:
    """The content_ids that met every anchor, sorted; whether others were left behind."""
    found = [np.array([], dtype=str)]
    has_eliminated = False
    for table in read_scores(out_dir, ["content_id", "golden_score"]):
        is_complete = table["golden_score"].is_valid()
        has_eliminated = has_eliminated or table["golden_score"].null_count > 0
        found.append(table.filter(is_complete)["content_id"].to_numpy().astype(str))
    return np.unique(np.concatenate(found)), has_eliminated


def _deltas(out_dir: str, content_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Those of `content_ids` (sorted) that are there, and their deltas (N, A) float32."""
    zero_shot_A = read_anchors(RunFolder(out_dir).anchors)[1].astype(np.float32)
    delta_NA = np.empty((len(content_ids), len(zero_shot_A)), np.float32)
    is_read_N = np.zeros(len(content_ids), bool)
    for part in read_matrix(out_dir):
        place = np.searchsorted(content_ids, part.content_id_N).clip(max=len(content_ids) - 1)
        is_wanted = content_ids[place] == part.content_id_N
        delta_NA[place[is_wanted]] = part.one_shot_NA[is_wanted] - zero_shot_A
        is_read_N[place[is_wanted]] = True
    return content_ids[is_read_N], delta_NA[is_read_N]
