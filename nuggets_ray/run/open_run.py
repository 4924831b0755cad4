"""A run folder as tables and arrays, for a caller in Python. Reads, and never writes.

    run = open_run("/data/runs/first")
    run.scores(with_rows=True).to_pandas()
    run.matrix().one_shot_NA

A run that is still going, or died, is read as far as it came. Legend: N scored rows, A anchors.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from nuggets_ray import io
from nuggets_ray.config.keys import job_command
from nuggets_ray.errors import UserError
from nuggets_ray.run.anchors import read_anchors
from nuggets_ray.run.joined import join_scores, read_rows
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import read_manifest
from nuggets_ray.run.measures import read_measures
from nuggets_ray.run.scores import SCORE_SCHEMA
from nuggets_ray.run.selected_rows import to_table
from nuggets_ray.run.selections import selection_names
from nuggets_ray.run.set_scores import anchor_set_names, read_set_scores
from nuggets_ray.signals.names import SIGNALS

LOG_PROBS = "one_shot_logprob"
IDS = ("example_id", "content_id")


@dataclass(frozen=True, slots=True)
class ScoreMatrix:
    """Every log-prob of a run, mean over an answer's tokens, in nats: row n is `example_ids[n]`,
    column a `anchor_ids[a]`, of the anchor set `anchor_sets[a]`.

    `one_shot_NA` and `zero_shot_A` are float32; a golden score is the share of an example's anchors
    whose delta is above 0, its own left out.
    """

    example_ids: tuple[str, ...]
    anchor_ids: tuple[str, ...]
    anchor_sets: tuple[str, ...]
    one_shot_NA: np.ndarray
    zero_shot_A: np.ndarray

    @property
    def delta_NA(self) -> np.ndarray:
        """One-shot less zero-shot: what each row gains for each anchor."""
        delta_NA: np.ndarray = self.one_shot_NA - self.zero_shot_A
        return delta_NA


class Selections(Mapping[str, pa.Table]):
    """The selections of a run by name; each is read when it is asked for."""

    def __init__(self, out_dir: str) -> None:
        self._out_dir = out_dir

    def __getitem__(self, name: str) -> pa.Table:
        if name not in selection_names(self._out_dir):
            raise KeyError(name)
        path = RunFolder(self._out_dir).selection(name).parquet
        try:
            return io.read_table(path)
        except OSError as error:
            if io.is_remote(path) and not isinstance(error, FileNotFoundError):
                raise  # a store that is out of order, and no fault of the file
            raise UserError(
                f"{path} cannot be read ({error.strerror or error}): make the selection again with "
                f"{job_command('select_topk')} and this out_dir"
            ) from error

    def __iter__(self) -> Iterator[str]:
        return iter(selection_names(self._out_dir))

    def __len__(self) -> int:
        return len(selection_names(self._out_dir))


@dataclass(frozen=True, slots=True)
class OpenRun:
    """The run in `out_dir`. Every call reads the folder as it is then."""

    out_dir: str

    @property
    def manifest(self) -> dict[str, Any]:
        """manifest.json. Raises UserError where there is none (any more)."""
        manifest = read_manifest(self.out_dir)
        if manifest is None:
            raise UserError(
                f"out_dir={self.out_dir} is no run folder, as it holds no manifest.json: give the "
                "out_dir of a scoring run"
            )
        return manifest

    def scores(self, with_rows: bool = False, prefix: str = "") -> pa.Table:
        """The scored rows in order of the data: ids, source_path, row_number and the columns of
        scores/, but for the log-probs, which are in `matrix`.

        With `with_rows` the fields of the original rows stand before them, as in selected.parquet;
        `prefix` is put before our columns then. Raises UserError where nothing is scored yet, and
        where a field of the rows has the name of one of our columns.
        """
        table = join_scores(self.out_dir, _columns()).table
        if not with_rows:
            return table
        rows = to_table(read_rows(self.out_dir, table["example_id"].to_numpy()))
        ours = table.rename_columns([prefix + name for name in table.column_names])
        clashing = sorted(set(ours.column_names) & set(rows.column_names))
        if clashing:
            raise UserError(
                f"the rows have a field named {clashing[0]}, as the scores do: give "
                "scores(with_rows=True, prefix=...) another prefix than "
                f"{prefix!r}, such as 'nuggets_'"
            )
        for name in ours.column_names:
            rows = rows.append_column(name, ours[name])
        return rows

    def signals(self) -> pa.Table:
        """Every signal of the rows of `scores()`, in the same order: the ids, the signals by the
        names that select.by takes (`longest` in answer tokens), null where a row has none, and
        is_ifd_above_1. Computes what follows from the log-probs anew. Raises UserError where
        nothing is scored yet.
        """
        names = [name for name in SIGNALS if name != "random"]
        joined = join_scores(self.out_dir, _columns()).table
        measures = read_measures(self.out_dir, joined, names).values
        table = joined.select(list(IDS))
        for name in names:
            table = table.append_column(name, pa.array(measures[name], from_pandas=True))
        above_N = [None if np.isnan(value) else value > 1 for value in measures["ifd"]]
        return table.append_column("is_ifd_above_1", pa.array(above_N, pa.bool_()))

    @property
    def anchors(self) -> pa.Table:
        """anchors.parquet: the anchors in order, with their text, token ids and zero-shot log-prob.

        Raises UserError before they are chosen.
        """
        return io.read_table(self._anchors_uri())

    def matrix(self) -> ScoreMatrix:
        """All log-probs, a row for each row of `scores()`, in the same order. Raises UserError
        where nothing is scored yet.
        """
        table = join_scores(self.out_dir, [LOG_PROBS]).table
        anchors, zero_shot_A = read_anchors(self._anchors_uri())
        with io.telling_damage(RunFolder(self.out_dir).scores):
            chunks = [chunk.flatten().to_numpy() for chunk in table[LOG_PROBS].chunks]
            one_shot_NA = np.concatenate(chunks).reshape(table.num_rows, len(anchors))
        return ScoreMatrix(
            example_ids=tuple(table["example_id"].to_pylist()),
            anchor_ids=tuple(anchor.anchor_id for anchor in anchors),
            anchor_sets=tuple(anchor.anchor_set for anchor in anchors),
            one_shot_NA=one_shot_NA,
            zero_shot_A=zero_shot_A,
        )

    def set_scores(self) -> pa.Table:
        """A row for each content that met every anchor and each anchor set: its golden_score,
        num_wins, num_anchors and mean_delta there."""
        return read_set_scores(self.out_dir, anchor_set_names(self.out_dir))

    @property
    def selections(self) -> Selections:
        """{name: selected.parquet as a table} of the selections that are whole."""
        return Selections(self.out_dir)

    def _anchors_uri(self) -> str:
        uri = RunFolder(self.out_dir).anchors
        if not io.exists(uri):
            raise UserError(
                f"out_dir={self.out_dir} holds no anchors yet: run {job_command('score')} with it "
                "first"
            )
        return uri


def open_run(out_dir: str | os.PathLike[str]) -> OpenRun:
    """The run in a folder or s3:// or gs:// URI. Raises UserError for a folder that is no run."""
    run = OpenRun(os.fspath(out_dir))
    _ = run.manifest  # refused here, where there is none
    return run


def _columns() -> list[str]:
    return [name for name in SCORE_SCHEMA.names if name not in (*IDS, LOG_PROBS)]
