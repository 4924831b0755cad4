"""The rows that models are compared on: the run's held-out rows, or evaluate.held_out_path's.

Must not import ray, torch, hydra or omegaconf.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from nuggets_ray import candidate_table, io
from nuggets_ray.anchors.file import load_examples
from nuggets_ray.config import AnchorsConfig, Config, DataConfig, UserError
from nuggets_ray.data import SkipRow, parse, resolve_format
from nuggets_ray.demo import candidates_path, held_out_path
from nuggets_ray.evaluate.held_out import TextRow, text_row
from nuggets_ray.evaluate.models import TrainingData, training_data
from nuggets_ray.manifest import read_config, read_manifest
from nuggets_ray.records import Example
from nuggets_ray.rows import BadRow

logger = logging.getLogger(__name__)

NUM_FORMAT_ROWS = 100
CHUNK_ROWS = 4096
CATEGORY_FIELDS = ("category", "dataset", "task")
"""Where a row may say what kind it is, in order."""


@dataclass(frozen=True, slots=True)
class HeldRow:
    """A row to evaluate on; `category` is what the row says it is, None where it does not."""

    example_id: str
    category: str | None
    example: Example


@dataclass(frozen=True, slots=True)
class HeldRows:
    """The rows, the file they came from, and how many could not be read, by reason."""

    rows: tuple[HeldRow, ...]
    path: str
    skipped: dict[str, int]


def read_held_rows(config: Config) -> HeldRows:
    """evaluate.held_out_path (read by data.format and data.columns), or the run's own; the first
    evaluate.limit of them. Raises UserError where there are none.
    """
    given = config.evaluate.held_out_path
    path = _own_path(config)
    if given is not None:
        path = held_out_path() if given == "demo" else given
        rows = list(islice(_rows_of(path), config.evaluate.limit))
        columns = config.data.columns
        format = resolve_format(config.data.format, columns, rows[:NUM_FORMAT_ROWS])
    elif io.exists(path):
        texts = io.read_table(path, columns=["row_json"])["row_json"].to_pylist()
        rows = [json.loads(text) for text in texts[: config.evaluate.limit]]
        format, columns = _format(config)
    else:
        raise UserError(
            f"evaluate.held_out_path is missing: out_dir={config.out_dir} has no held-out rows "
            "(data.holdout=N keeps N rows from everything before a run is scored), so give a file "
            "of rows that no model was trained on"
        )
    skipped: dict[str, int] = {}
    found: dict[str, HeldRow] = {}
    for row in rows:
        try:
            example = parse(row, format, columns)
        except SkipRow as error:
            reason = row.reason if isinstance(row, BadRow) else error.reason
            skipped[reason] = skipped.get(reason, 0) + 1
            continue
        if example.content_id in found:
            skipped["duplicate"] = skipped.get("duplicate", 0) + 1
            continue
        found[example.content_id] = HeldRow(example.content_id, _category(row), example)
    if not found:
        raise UserError(f"{path} has no row to evaluate on ({skipped or 'it is empty'})")
    return HeldRows(tuple(found.values()), path, skipped)


def training_sources(config: Config) -> dict[str, Iterator[list[TextRow]]]:
    """What held-out rows must not be in: anchors, candidates, and files trained on directly, but
    for the rows that the training left out.
    """
    sources: dict[str, Iterator[list[TextRow]]] = {}
    scored = read_config(config.out_dir, "score")
    if scored and scored["anchors"]["method"] == "file":  # those drawn are candidates too
        anchors = load_examples(AnchorsConfig(**scored["anchors"]))
        sources["anchors"] = iter([[text_row(a.content_id, a) for a in anchors]])
    if candidate_table.parts(config.out_dir):
        sources["candidates"] = _candidates(config)
    for trained in training_data(config):
        _tell_if_changed(trained)
        rows = _file_rows(trained.data, _left_out(config, trained))
        sources[trained.data.path] = chain(sources.get(trained.data.path, ()), rows)
    return sources


def _tell_if_changed(trained: TrainingData) -> None:
    files = io.list_inputs(_data_path(trained.data), "evaluate.held_out_path")
    if trained.sha256 and tuple(io.sha256(file.path) for file in files) != trained.sha256:
        logger.warning(
            "data.path=%s has changed since a model of the run was trained on it: held-out rows "
            "are looked for among its rows of now",
            trained.data.path,
        )


def _own_path(config: Config) -> str:
    return io.join(config.out_dir, "holdout.parquet")


def _left_out(config: Config, trained: TrainingData) -> set[str]:
    """Contents of the run's held-out rows, where they are those that the training left out."""
    path = _own_path(config)
    if trained.leaves_out is None or not io.exists(path) or io.sha256(path) != trained.leaves_out:
        return set()
    return set(io.read_table(path, columns=["content_id"])["content_id"].to_pylist())


def _candidates(config: Config) -> Iterator[list[TextRow]]:
    format, columns = _format(config)
    for part in candidate_table.parts(config.out_dir):
        table = io.read_table(part, columns=["example_id", "row_json"])
        for start in range(0, table.num_rows, CHUNK_ROWS):
            yield [
                text_row(row["example_id"], parse(json.loads(row["row_json"]), format, columns))
                for row in table.slice(start, CHUNK_ROWS).to_pylist()
            ]


def _file_rows(data: DataConfig, left_out: set[str]) -> Iterator[list[TextRow]]:
    rows = _rows_of(_data_path(data))
    sample = list(islice(rows, NUM_FORMAT_ROWS))
    format = resolve_format(data.format, data.columns, sample)
    numbered = enumerate(chain(sample, rows))
    while chunk := list(islice(numbered, CHUNK_ROWS)):
        texts = []
        for number, row in chunk:
            try:
                example = parse(row, format, data.columns)
            except SkipRow:
                continue  # nothing was trained on it either
            if example.content_id not in left_out:
                texts.append(text_row(f"row {number}", example))
        yield texts


def _data_path(data: DataConfig) -> str:
    return candidates_path() if data.path == "demo" else data.path


def _rows_of(path: str) -> Iterator[object]:
    for file in io.list_inputs(path, "evaluate.held_out_path"):
        yield from io.read_rows(file)


def _format(config: Config) -> tuple[str, dict[str, str]]:
    """How the run's rows are read."""
    manifest = read_manifest(config.out_dir) or {}
    scored: dict[str, Any] = read_config(config.out_dir, "score") or {}
    return manifest["data_format"], scored["data"]["columns"]


def _category(row: object) -> str | None:
    values = [row.get(key) for key in CATEGORY_FIELDS] if isinstance(row, dict) else []
    return next((value for value in values if isinstance(value, str) and value), None)
