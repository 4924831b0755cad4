"""The signals that a selection asks of a run, joined to its scored rows; and what is missing of
them.
"""

import logging
from dataclasses import replace

import numpy as np

from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.run.file_scores import read_file_scores
from nuggets_ray.run.joined import Scored
from nuggets_ray.run.measures import read_measures, way_to
from nuggets_ray.signals.by import column_of_file, weights_of
from nuggets_ray.signals.ifd import misfits
from nuggets_ray.signals.names import OF_SCORES

logger = logging.getLogger(__name__)

NUM_NAMED = 3


def with_signals(out_dir: str, scored: Scored, config: SelectConfig) -> Scored:
    """The scored rows with the signals that select.by names. Raises UserError where the run has
    nothing of one, with the command that computes it; rows without one are told."""
    names = list(weights_of(config.by))
    ours = [name for name in names if column_of_file(name) is None and name not in OF_SCORES]
    measures = read_measures(out_dir, scored.table, ours)
    for name in ours:
        if np.isnan(measures.values[name]).all():
            raise UserError(
                f"select.by={name}: no row of {out_dir} has one: {way_to(out_dir, name)}; or take "
                "select.by=golden_score"
            )
    columns = {name: column for name in names if (column := column_of_file(name)) is not None}
    of_file: dict[str, np.ndarray] = {}
    if columns:
        assert config.scores_path is not None, "asked before (check_config)"
        wanted = list(dict.fromkeys(columns.values()))
        of_file = read_file_scores(config.scores_path, wanted, out_dir, scored.table)
    elif config.scores_path is not None:
        logger.warning(
            "select.scores_path=%s is not used: select.by names no column of it", config.scores_path
        )
    values = {**measures.values, **{name: of_file[column] for name, column in columns.items()}}
    for name in ours:
        _tell_missing(out_dir, name, values[name], scored)
    scores = replace(scored.scores, signals=values, rds_turn=measures.rds_turn_N)
    return replace(scored, scores=scores)


def _tell_missing(out_dir: str, name: str, value_N: np.ndarray, scored: Scored) -> None:
    """Warn of rows that cannot be chosen by a signal, as they have none, or one that is no use."""
    missing = np.flatnonzero(np.isnan(value_N))
    if len(missing):
        some = ", ".join(scored.scores.example_id[missing[:NUM_NAMED]].tolist())
        logger.warning(
            "select.by=%s: %d of %d scored rows have none (%s%s) and cannot be chosen: %s",
            *(name, len(missing), len(value_N), some),
            *(", ..." if len(missing) > NUM_NAMED else "", way_to(out_dir, name)),
        )
    if name.startswith("ifd") and (num_misfits := int(misfits(value_N).sum())):
        logger.info(
            "select.by=%s: %d rows have a ratio above 1, as the instruction made the answer less "
            "likely: they are left out, as by its authors",
            *(name, num_misfits),
        )
