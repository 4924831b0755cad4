"""Every signal of a run's scored rows by its name, wherever it lies: scores/, signals/, the matrix
of log-probs, the rows' own lengths. What is asked and not there is told with the way to it.

Legend: N rows, A anchors.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from nuggets_ray import io
from nuggets_ray.config.keys import shell_command
from nuggets_ray.run.anchors import read_anchors
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.matrix_signals import read_matrix_signals
from nuggets_ray.run.posterior import read_posterior
from nuggets_ray.run.signals import read_cosines, read_signal, signal_parts
from nuggets_ray.run.stage_status import read_stage_status
from nuggets_ray.signals.longest import longest
from nuggets_ray.signals.names import COLUMNS_OF, OF_MATRIX, pass_of
from nuggets_ray.signals.rds import round_robin

OF_PASS = tuple(dict.fromkeys(name for columns in COLUMNS_OF.values() for name in columns))


@dataclass(frozen=True, slots=True)
class Measures:
    """Signals by name, (N,) float64 each, NaN where a row has none. `rds_turn_N`: at which turn of
    a round-robin over the anchors each row is taken; None where rds was not asked or is not there.
    """

    values: dict[str, np.ndarray]
    rds_turn_N: np.ndarray | None = None


def read_measures(out_dir: str, scored: pa.Table, names: Sequence[str]) -> Measures:
    """The signals `names` of the rows of `join_scores` (content_id, golden_score and
    num_answer_tokens). `random` has no numbers, and one that the run does not have is all NaN."""
    content_ids = scored["content_id"].to_numpy()
    values: dict[str, np.ndarray] = {}
    if "golden_score" in names:
        values["golden_score"] = scored["golden_score"].to_numpy().astype(np.float64)
    if "longest" in names:
        values["longest"] = longest(scored["num_answer_tokens"].to_numpy())
    if "posterior_score" in names:
        posterior_N = read_posterior(out_dir, content_ids)
        none_N = np.full(len(content_ids), np.nan)
        values["posterior_score"] = none_N if posterior_N is None else posterior_N
    if of_matrix := [name for name in OF_MATRIX if name in names]:
        values |= read_matrix_signals(out_dir, content_ids, of_matrix)
    for name in OF_PASS:
        if name in names:
            values[name] = read_signal(out_dir, name, content_ids)
    turn_N = _turns(out_dir, content_ids) if "rds" in names else None
    return Measures(values, turn_N)


def _turns(out_dir: str, content_ids: np.ndarray) -> np.ndarray | None:
    """The turns of distinct contents; copies have that of the first. None where the run has none,
    as the cosines of all rows are large: 4 bytes a row and anchor."""
    if "rds" not in known_signals(out_dir):
        return None
    num_anchors = len(read_anchors(RunFolder(out_dir).anchors)[0])
    distinct, place_N = np.unique(content_ids.astype(str), return_inverse=True)
    turn_N: np.ndarray = round_robin(read_cosines(out_dir, distinct, num_anchors), distinct)[
        place_N
    ]
    return turn_N


def known_signals(out_dir: str) -> list[str]:
    """The signals of the pass that some rows of the run have."""
    folder_signals = []
    for uri in signal_parts(out_dir):
        table = io.read_table(uri, columns=list(OF_PASS))
        folder_signals += [name for name in OF_PASS if table[name].null_count < table.num_rows]
    return [name for name in OF_PASS if name in folder_signals]


def way_to(out_dir: str, signal: str) -> str:
    """What gives a run a signal that it does not have."""
    asked = pass_of(signal)
    command = _command(out_dir)
    if asked is None:
        again = command or f"{shell_command('score')} with this out_dir"
        return f"run {again} to its end"
    if command:
        return f"run {command} 'signals=[{asked}]', which computes the signal only"
    return (
        f"run {shell_command('score')} with the keys of this run and 'signals=[{asked}]', which "
        "computes the signal only"
    )


def _command(out_dir: str) -> str:
    """The command that scored the run last, but for what it asked of signals; "" if unknown."""
    told = read_stage_status(out_dir, "score")
    words = shlex.split(told.command) if told is not None else []
    return shlex.join(word for word in words if not word.startswith("signals="))
