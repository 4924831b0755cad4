"""The rows of a scored run that the correlation study trains on, with their signals."""

from collections.abc import Sequence

import numpy as np

from nuggets_ray.config.keys import job_command
from nuggets_ray.errors import UserError
from nuggets_ray.run.joined import SCORE_COLUMNS, join_scores
from nuggets_ray.run.measures import read_measures, way_to
from nuggets_ray.studies.arms import BESIDE, StudyRows

STUDY_PREFIX = "study_"
"""Put before our columns in the rows that are trained on, so that they are none of the data's."""


def read_study_rows(out_dir: str, by: str) -> StudyRows:
    """The first copy of every scored content. Raises UserError where the run lacks `by`, or a race
    left rows without it."""
    table = join_scores(out_dir, SCORE_COLUMNS).table
    names = list(dict.fromkeys([by, *BESIDE]))
    measures = read_measures(out_dir, table, names)
    values = dict(measures.values)
    if measures.rds_turn_N is not None and "rds" in values:
        turn_N = measures.rds_turn_N.astype(np.float64)
        values["rds"] = np.where(np.isnan(values["rds"]), np.nan, -turn_N)
    ids_N = table["example_id"].to_numpy().astype(str)
    first_N = _first_copies(ids_N, table["content_id"].to_numpy().astype(str))
    value_N = values[by][first_N]
    if np.isnan(value_N).all():
        raise UserError(f"study.by={by}: this run does not have it: {way_to(out_dir, by)}")
    if by == "golden_score" and np.isnan(value_N).any():
        raise UserError(
            f"study.by=golden_score: {int(np.isnan(value_N).sum())} rows have none, as a race left "
            "them behind: take study.by=posterior_score, or score on with schedule=full "
            f"({job_command('score')})"
        )
    return StudyRows(
        example_id_N=ids_N[first_N],
        mean_delta_N=table["mean_delta"].to_numpy().astype(np.float64)[first_N],
        num_answer_tokens_N=table["num_answer_tokens"].to_numpy()[first_N],
        values={name: value[first_N] for name, value in values.items()},
    )


def mean_signal(rows: StudyRows, by: str, row_K: Sequence[int] | np.ndarray) -> float:
    """Of the rows that have it; NaN where none has."""
    value_K = rows.values[by][np.asarray(row_K)]
    return float(np.nanmean(value_K)) if not np.isnan(value_K).all() else float("nan")


def _first_copies(example_id_N: np.ndarray, content_id_N: np.ndarray) -> np.ndarray:
    """Indices of the first copy of each content: of its ids the shortest, then the smallest."""
    order = np.lexsort((example_id_N, np.strings.str_len(example_id_N), content_id_N))
    _, first = np.unique(content_id_N[order], return_index=True)
    return np.sort(order[first])
