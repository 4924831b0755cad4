"""What the sections of the page are made of: a run's tables, read once.

Holds ids and numbers of all scored rows, but texts and log-probs of samples only.
Legend: N scored rows, S rows of the sample, A anchors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray import io
from nuggets_ray.config.report import ReportConfig
from nuggets_ray.curate.quotas import Sources
from nuggets_ray.errors import UserError
from nuggets_ray.records import Anchor
from nuggets_ray.run.anchors import read_anchors
from nuggets_ray.run.candidates import candidate_parts, is_among
from nuggets_ray.run.job_configs import read_config
from nuggets_ray.run.joined import SCORE_COLUMNS, Joined, join_scores
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import read_manifest
from nuggets_ray.run.posterior import read_posterior
from nuggets_ray.run.row_text import distinct_texts
from nuggets_ray.run.scores import read_log_probs, score_parts
from nuggets_ray.run.selections import read_selection, selection_names
from nuggets_ray.run.sources import read_sources
from nuggets_ray.run.status import RunStatus, read_status

COLUMNS = (*SCORE_COLUMNS, "num_dropped_tokens")
SAMPLE_ROWS = 2000
"""Rows whose log-probs the charts of anchors are drawn from."""
POINTS = 4000
"""Rows that a scatter shows."""
MAIN = "golden"


@dataclass(frozen=True, slots=True)
class ChosenRows:
    """A selection: what selection.json says, and its rows as a mask of the scored ones, (N,)."""

    name: str
    record: Mapping[str, Any]
    is_kept_N: np.ndarray


@dataclass(frozen=True, slots=True)
class Sampled:
    """Some scored rows against all anchors. `delta_SA`: nats per answer token, NaN where not
    evaluated, and of a row against itself.
    """

    rows_S: np.ndarray
    one_shot_SA: np.ndarray
    delta_SA: np.ndarray


class Material:
    """The run in `out_dir`, as far as it came. Raises UserError where no run has begun."""

    def __init__(self, out_dir: str, config: ReportConfig) -> None:
        self.out_dir, self.config = out_dir, config
        self.folder = RunFolder(out_dir)
        self.manifest: dict[str, Any] = read_manifest(out_dir) or {}
        self.status: RunStatus | None = None
        if self.manifest.get("stages") or not score_parts(out_dir):
            self.status = read_status(out_dir)  # which refuses a folder that is no run
        self.settings: dict[str, Any] = read_config(out_dir, "score") or {}

    @cached_property
    def joined(self) -> Joined | None:
        """The scored rows with COLUMNS; None before the first is scored."""
        if not (score_parts(self.out_dir) and candidate_parts(self.out_dir)):
            return None
        joined = join_scores(self.out_dir, COLUMNS)
        return joined if joined.table.num_rows else None

    @property
    def table(self) -> pa.Table:
        """The scored rows. To be asked for only where `joined` is there."""
        assert self.joined is not None
        return self.joined.table

    @cached_property
    def golden_N(self) -> np.ndarray:
        """Golden scores, NaN of a row that was not held against every anchor."""
        return self.column("golden_score")

    def column(self, name: str) -> np.ndarray:
        """A column of numbers as float64, NaN for null: (N,)."""
        return np.asarray(self.table[name].to_numpy(), np.float64)

    @cached_property
    def posterior_N(self) -> np.ndarray | None:
        """Posterior scores, where a race has left some."""
        return read_posterior(self.out_dir, self.table["content_id"].to_numpy())

    @cached_property
    def measure_N(self) -> np.ndarray:
        """What all rows can be ordered by: the golden score, else the posterior one."""
        if self.posterior_N is None:
            return self.golden_N
        return np.where(np.isnan(self.golden_N), self.posterior_N, self.golden_N)

    @cached_property
    def ranked_N(self) -> np.ndarray:
        """Row indices, best first; ties by mean delta, then example_id."""
        ids_N = self.table["example_id"].to_numpy().astype(str)
        unknown_N = np.isnan(self.measure_N)
        order: np.ndarray = np.lexsort(
            (ids_N, -self.column("mean_delta"), -self.measure_N, unknown_N)
        )
        return order

    @cached_property
    def selections(self) -> dict[str, ChosenRows]:
        """The selections that are whole; none before the first score."""
        if self.joined is None:
            return {}
        ids_N = self.table["example_id"].to_numpy()
        chosen = {}
        for name in selection_names(self.out_dir):
            record = read_selection(self.out_dir, name) or {}
            column = f"{record.get('settings', {}).get('prefix', '')}example_id"
            kept = io.read_table(self.folder.selection(name).parquet, columns=[column])[column]
            chosen[name] = ChosenRows(name, record, is_among(ids_N, kept.to_pylist()))
        return chosen

    @cached_property
    def main(self) -> ChosenRows | None:
        """The selection whose cut is shown. Raises UserError for one that is asked for and not
        there.
        """
        asked = self.config.selection
        if asked is not None and asked not in self.selections:
            there = ", ".join(self.selections) or "none"
            raise UserError(
                f"report.selection={asked}: selections/ holds no such one ({there}): leave it out"
            )
        name = asked or (MAIN if MAIN in self.selections else next(iter(self.selections), None))
        return None if name is None else self.selections[name]

    @cached_property
    def all_sources(self) -> list[Sources]:
        """Where rows are from, by each field that tells them apart, or by file."""
        return read_sources(self.out_dir, self.table)

    @property
    def sources(self) -> Sources | None:
        """The first of them, None where nothing tells rows apart."""
        return next(iter(self.all_sources), None)

    @cached_property
    def anchors(self) -> tuple[list[Anchor], np.ndarray]:
        """The anchors, and their zero-shot log-probs; none before they are chosen."""
        uri = self.folder.anchors
        return read_anchors(uri) if io.exists(uri) else ([], np.zeros(0, np.float32))

    @cached_property
    def anchor_texts(self) -> list[str]:
        """The anchors without what a template puts around each."""
        return distinct_texts([anchor.text for anchor in self.anchors[0]])

    def some_rows(self, num: int) -> np.ndarray:
        """At most `num` of the scored rows, drawn with a seed of its own, in order."""
        num_rows = self.table.num_rows
        if num_rows <= num:
            return np.arange(num_rows)
        return np.sort(np.random.default_rng(0).choice(num_rows, num, replace=False))

    @cached_property
    def sample(self) -> Sampled | None:
        """Up to SAMPLE_ROWS rows that met every anchor; None where there are none."""
        anchors, zero_shot_A = self.anchors
        complete = np.flatnonzero(~np.isnan(self.golden_N))
        if not anchors or not len(complete):
            return None
        rows_S = complete
        if len(complete) > SAMPLE_ROWS:
            drawn = np.random.default_rng(0).choice(len(complete), SAMPLE_ROWS, replace=False)
            rows_S = complete[np.sort(drawn)]
        taken = self.table.take(pa.array(rows_S, pa.int64()))
        ids = taken["content_id"].to_pylist()
        log_probs = read_log_probs(self.out_dir, pc.unique(taken["content_id"]).to_pylist())
        is_there_S = np.array([len(log_probs.get(i, ())) == len(anchors) for i in ids], bool)
        if not is_there_S.any():
            return None
        there = [i for i, is_there in zip(ids, is_there_S, strict=True) if is_there]
        one_shot_SA = np.array([log_probs[i] for i in there], np.float32)
        delta_SA = one_shot_SA - zero_shot_A
        self_S = np.array(
            [-1 if i is None else i for i in taken["self_anchor_index"].to_pylist()], np.int64
        )[is_there_S]
        with_self = np.flatnonzero(self_S >= 0)
        delta_SA[with_self, self_S[with_self]] = np.nan
        return Sampled(rows_S[is_there_S], one_shot_SA, delta_SA)

    @property
    def is_partial(self) -> bool:
        """Whether candidates still wait for a score."""
        return self.joined is None or self.joined.num_pending > 0


def evenly(num: int, most: int) -> np.ndarray:
    """At most `most` of the places 0 to num - 1, spread evenly, both ends among them."""
    places: np.ndarray = np.unique(np.linspace(0, num - 1, min(most, num)).astype(int))
    return places
