"""What the other signals would pick, beside a selection, and how repeatable each is on the run's
own anchors: a table for the end of the select job.

Repeatability is measured on rows that stand for all: at most MAX_ROWS of those that met every
anchor, of a race its pilot. Legend: N rows, A anchors.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from nuggets_ray import io
from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.markdown import markdown_table
from nuggets_ray.run.anchors import read_anchors
from nuggets_ray.run.candidates import is_among
from nuggets_ray.run.joined import Scored
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.matrix_signals import read_matrix
from nuggets_ray.run.measures import read_measures
from nuggets_ray.run.rounds import pilot_ids
from nuggets_ray.run.signals import read_cosines
from nuggets_ray.select import select
from nuggets_ray.signals.loss_ratio import loss_ratio
from nuggets_ray.signals.names import SIGNALS
from nuggets_ray.signals.rds import nearest
from nuggets_ray.signals.repeatability import repeatability
from nuggets_ray.signals.standardised_delta import Spread, standardised_delta

MAX_ROWS = 2000
WITHOUT_ANCHORS = ("perplexity", "ifd", "ifd_perplexity", "longest")


def signal_table(
    out_dir: str, scored: Scored, row_K: np.ndarray, config: SelectConfig, seed: int
) -> str:
    """The table, for a selection of the rows `row_K` of `scored`."""
    names = [name for name in SIGNALS if name != "random"]
    measures = read_measures(out_dir, scored.table, names)
    scores = replace(scored.scores, signals=measures.values, rds_turn=measures.rds_turn_N)
    repeatable = _repeatability(out_dir, seed)
    rows = []
    for name in names:
        if np.isnan(measures.values[name]).all():
            continue
        as_many = SelectConfig(rule="top_k", k=len(row_K), by=name, unique=config.unique)
        try:
            shared = len(np.intersect1d(row_K, select(scores, as_many, seed).row_K))
        except UserError:  # fewer rows than that have it
            told = "-"
        else:
            told = f"{shared:,} ({shared / len(row_K):.0%})"
        rows.append([name, _repeatable_text(name, repeatable), told])
    by_chance = len(row_K) / len(scores.example_id)
    table = markdown_table(["signal", "repeatable", "of the kept, it would keep"], rows)
    return (
        f"{table}\nrepeatable: how alike another such set of anchors would order the rows (1: just "
        f"so), by split halves; by chance a signal would keep {by_chance:.0%} of the kept rows."
    )


def _repeatable_text(name: str, repeatable: Mapping[str, float | None]) -> str:
    if name in WITHOUT_ANCHORS:
        return "uses no anchors"
    value = repeatable.get(name)
    return "-" if value is None else f"{value:.2f}"


def _repeatability(out_dir: str, seed: int) -> dict[str, float | None]:
    """Of each signal that is made of anchors, but for the posterior score."""
    content_ids, one_shot_NA = _sample(out_dir)
    if not len(content_ids) or not io.exists(RunFolder(out_dir).anchors):
        return {}
    zero_shot_A = read_anchors(RunFolder(out_dir).anchors)[1].astype(np.float64)
    delta_NA = one_shot_NA - zero_shot_A
    cosine_NA = read_cosines(out_dir, content_ids, len(zero_shot_A))

    def wins(anchors: np.ndarray) -> np.ndarray:
        share_N: np.ndarray = (delta_NA[:, anchors] > 0).mean(axis=1)
        return share_N

    def standardised(anchors: np.ndarray) -> np.ndarray:
        spread = Spread(len(anchors))
        spread.add(delta_NA[:, anchors])
        return standardised_delta(delta_NA[:, anchors], spread.sd_A)

    def ratios(anchors: np.ndarray) -> np.ndarray:
        return loss_ratio(one_shot_NA[:, anchors], zero_shot_A[anchors])

    def cosines(anchors: np.ndarray) -> np.ndarray:
        return nearest(cosine_NA[:, anchors])

    of_anchors = {
        "golden_score": wins,
        "standardised_delta": standardised,
        "loss_ratio": ratios,
        "rds": cosines,
    }
    num = len(zero_shot_A)
    return {name: repeatability(of, num, seed) for name, of in of_anchors.items()}


def _sample(out_dir: str) -> tuple[np.ndarray, np.ndarray]:
    """Some complete rows, (N,) content_ids and (N, A) log-probs."""
    pilot = pilot_ids(out_dir)
    ids, parts = [np.array([], dtype=str)], list[np.ndarray]()
    for part in read_matrix(out_dir):
        left = MAX_ROWS - sum(map(len, ids))
        if left <= 0:
            break
        taken = np.arange(len(part.content_id_N))
        if pilot is not None:
            taken = np.flatnonzero(is_among(part.content_id_N, pilot.tolist()))
        ids.append(part.content_id_N[taken[:left]])
        parts.append(part.one_shot_NA[taken[:left]])
    return np.concatenate(ids), np.concatenate(parts) if parts else np.zeros((0, 0))
