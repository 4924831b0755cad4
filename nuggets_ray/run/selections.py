"""selections/<name>/ as others read it, and the record of one that a model keeps.

A record is what selection.json said when the training began, with the `sha256` of selected.jsonl
and `num_answer_tokens` {answer tokens: rows}. It lies in finetune/<name>/selection.json while the
training goes on, and in models/<name>/finetune.json from then on, so that a selection written anew
under the same name says nothing of a model that never saw it.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray import io
from nuggets_ray.config.keys import job_command
from nuggets_ray.errors import UserError
from nuggets_ray.io import write_json
from nuggets_ray.run.candidates import candidate_parts
from nuggets_ray.run.joined import read_scored
from nuggets_ray.run.layout import RunFolder, TrainingFolder
from nuggets_ray.run.scores import score_parts
from nuggets_ray.run.selected_rows import to_jsonl, to_table

logger = logging.getLogger(__name__)

Record = dict[str, Any]


def selection_names(out_dir: str) -> list[str]:
    """The selections of a run that are whole, sorted."""
    run = RunFolder(out_dir)
    names = io.list_folders(run.selections)
    return [name for name in names if io.exists(run.selection(name).record)]


def read_selection(out_dir: str, name: str) -> Record | None:
    """What selection.json says, None where there is no such selection or it is not whole."""
    return _read(RunFolder(out_dir).selection(name).record)


def write_selection(
    out_dir: str, name: str, rows: Sequence[bytes], ours: pa.Table, record: Record
) -> None:
    """Write the rows (JSON texts) with the columns `ours` behind their fields, and the record that
    says how they were chosen, last: with it the selection is whole."""
    folder = RunFolder(out_dir).selection(name)
    table = to_table(rows)
    for column in ours.column_names:
        table = table.append_column(column, ours[column])
    io.delete(folder.record)
    io.write_table(folder.parquet, table)
    io.write_bytes(folder.jsonl, to_jsonl(rows, ours))
    write_json(folder.record, record)


def check_not_outgrown(out_dir: str, name: str, made: Record, allow_partial: bool) -> None:
    """Raise UserError for a selection made while scoring was partial, once more is scored.

    One made among every row there was by then gives a warning where more are scored now.
    """
    before, num_candidates = made.get("num_scored"), made.get("num_candidates")
    if not (score_parts(out_dir) and candidate_parts(out_dir)):
        return  # a run that keeps no scores cannot go on
    now = len(read_scored(out_dir).scores.example_id)
    has_grown = before is not None and now > before
    if made.get("partial", False):
        if has_grown and not allow_partial:
            raise UserError(
                f"finetune.selection={name} was made while {before} of {num_candidates} candidates "
                f"were scored, and now {now} are: make it again with {job_command('select')}, or "
                "train on it as it is with finetune.allow_partial=true"
            )
        logger.warning(
            "selection %s is partial: it was made while %s of %s candidates were scored",
            *(name, before, num_candidates),
        )
    elif has_grown:
        logger.warning(
            "selection %s was made among %s scored candidates, of which there are %d now: "
            "%s makes it among all of them",
            *(name, before, now, job_command("select")),
        )


def make_record(out_dir: str, name: str) -> Record:
    """The record of a selection as it is now."""
    made = read_selection(out_dir, name)
    folder = RunFolder(out_dir).selection(name)
    assert made is not None, "asked for once it was found"
    column = f"{made['settings'].get('prefix', '')}example_id"
    chosen = io.read_table(folder.parquet, columns=[column])[column]
    lengths: Counter[int] = Counter()
    for part in candidate_parts(out_dir):
        table = io.read_table(part, columns=["example_id", "num_answer_tokens"])
        is_chosen = pc.is_in(table["example_id"], value_set=chosen.combine_chunks())
        lengths.update(table["num_answer_tokens"].filter(is_chosen).to_pylist())
    return {
        **made,
        "sha256": io.sha256(folder.jsonl),
        "num_answer_tokens": {str(tokens): rows for tokens, rows in sorted(lengths.items())},
    }


def begin_record(out_dir: str, folder: str, name: str | None, is_begun: bool) -> Record | None:
    """The record of the selection that the training in `folder` (finetune/<name>/) is on, None
    where it is on none: written down when it begins, read again when it goes on (`is_begun`).
    """
    uri = TrainingFolder(folder).selection
    if name is None:
        io.delete(uri)
        return None
    if is_begun and (record := _read(uri)):
        return record
    record = make_record(out_dir, name)
    write_json(uri, record)
    return record


def answer_lengths(record: Record) -> np.ndarray:
    """Answer tokens of the rows of a record's selection, ascending: (rows,), none if not told."""
    lengths: Mapping[str, int] = record.get("num_answer_tokens", {})
    return np.repeat(np.array([*map(int, lengths)], np.int64), np.array([*lengths.values()], int))


def models_of(out_dir: str, sha256: str) -> list[str]:
    """Models and trainings that have begun (models/<name>, finetune/<name>) on the selected rows
    whose selected.jsonl has this hash.
    """
    run = RunFolder(out_dir)
    records = {f"models/{name}": [run.model(name).record] for name in io.list_folders(run.models)}
    for name in io.list_folders(run.trainings):
        training = run.training(name)
        records[f"finetune/{name}"] = [training.selection, training.committed]
    trained: dict[str, str] = {}
    for place, uris in records.items():
        if any(sha256 in _hashes(_read(uri) or {}) for uri in uris):
            trained.setdefault(place.partition("/")[2], place)
    return list(trained.values())


def _hashes(kept: Record) -> list[str]:
    """The hashes of the rows trained on that a record, finetune.json or checkpoints.json names."""
    rows: list[str] = kept.get("settings", {}).get("rows", {}).get("sha256", [])
    return [*rows, (kept.get("selection") or kept).get("sha256", "")]


def _read(uri: str) -> Record | None:
    return dict(io.read_json(uri)) if io.exists(uri) else None
