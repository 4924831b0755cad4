"""The select job: scores/ and candidates/ of a run in, selections/<name>/ out. Needs no Ray.

selection.json is removed first and written last: where it stands, the selection is whole.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from nuggets_ray import io
from nuggets_ray.config.keys import job_command
from nuggets_ray.config.schema import Config, SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.io import write_json
from nuggets_ray.run.explored import is_explored
from nuggets_ray.run.exports import write_exports
from nuggets_ray.run.job_configs import check_same_run, write_config
from nuggets_ray.run.joined import Scored, read_rows, read_scored
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import read_manifest
from nuggets_ray.run.promise import selection_promise
from nuggets_ray.run.rounds import settled_k, settled_score
from nuggets_ray.run.select_report import selection_report
from nuggets_ray.run.selected_rows import json_columns, to_jsonl, to_table
from nuggets_ray.run.selections import models_of
from nuggets_ray.run.source_rows import read_source_table
from nuggets_ray.select import (
    OUR_COLUMNS,
    Scores,
    Selection,
    check_clash,
    check_config,
    default_name,
    select,
)

logger = logging.getLogger(__name__)

FIGURES = (
    *("num_rows", "num_scored", "num_candidates", "num_copies_left_out"),
    *("cutoff", "mean_golden_score", "mean_answer_tokens"),
)
"""What the job prints of its result."""


class ReplacesTrainedError(UserError):
    """Other rows would take the place of those that a model was trained on."""


def select_and_report(config: Config) -> dict[str, Any]:
    """`select_candidates`, and print what came of it."""
    result, scored, selection = _select(config)
    print(format_summary(result))
    report = selection_report(config.out_dir, scored, selection, config.select, config.seed)
    print(f"\n{report}")
    return result


def select_candidates(config: Config) -> dict[str, Any]:
    """Choose rows by `config.select` and write selections/<name>/; returns the job's JSON object.

    Works on a run that is still going or has died: then it chooses among the rows scored so far and
    says partial. Raises UserError where the settings are wrong, nothing is scored yet, a source
    field has one of our names, or other rows would replace those that a model was trained on.
    """
    return _select(config)[0]


def _select(config: Config) -> tuple[dict[str, Any], Scored, Selection]:
    check_config(config.select)
    check_same_run(config)
    scored, selection = _choose(config.out_dir, config.select, config.seed)
    name, summary = selection.name, _summary(scored, selection)
    ours = _our_columns(scored.scores, selection, config.select.prefix)
    rows = read_rows(config.out_dir, ours[0].to_numpy())
    folder = RunFolder(config.out_dir).selection(name)
    if not config.select.replace:
        _check_replaced(config.out_dir, name, rows, ours)
    table = read_source_table(config.out_dir, ours[0].to_numpy(), rows)
    if table is None:
        table = to_table(rows)
    check_clash(table.column_names, config.select.prefix)
    io.delete(folder.record)
    _write_parquet(folder.parquet, table, ours)
    as_json = json_columns(table.schema)
    if as_json:
        logger.info(
            "selected.parquet: values of unlike types in %s are kept as JSON (arrow.json), which "
            "`datasets` reads as what they were",
            ", ".join(as_json),
        )
    del table  # with the lines of all rows beside it, a large selection would not fit
    io.write_bytes(folder.jsonl, to_jsonl(rows, ours))
    exported = write_exports(config.out_dir, name, config.select.export, rows)
    settings = {**asdict(config.select), "name": name, "seed": config.seed}
    for key in ("replace", "export", "show_text"):  # they say nothing of which rows were chosen
        del settings[key]
    summary["race"] = _promise(config.out_dir, config.select, scored.scores, selection)
    write_json(folder.record, {"settings": settings, **summary, "json_columns": as_json})
    write_config(config.out_dir, "select_topk", config)
    wrote = [folder.jsonl, folder.parquet, folder.record, *exported]
    result = {"wrote": wrote, "status": "done", "name": name, **summary}
    return result, scored, selection


def select_beside(config: Config) -> list[str]:
    """Make a selection that stands beside the golden one, and return what was written.

    Its name is none of the user's, so one that a model was trained on is kept as it is, where
    none is trained on it now.
    """
    name = config.select.name or default_name(config.select)
    try:
        return list(select_candidates(config)["wrote"])
    except ReplacesTrainedError as error:
        if name in config.finetune.selections:
            raise
        logger.warning("selections/%s is left as it was: %s", name, error)
        return []


def _check_replaced(out_dir: str, name: str, rows: Sequence[bytes], ours: pa.Table) -> None:
    """Raise ReplacesTrainedError where selections/<name> holds other rows that a model is of."""
    jsonl = RunFolder(out_dir).selection(name).jsonl
    if not io.exists(jsonl):
        return
    there = io.sha256(jsonl)
    models = models_of(out_dir, there)
    if models and hashlib.sha256(to_jsonl(rows, ours)).hexdigest() != there:
        raise ReplacesTrainedError(
            f"select.name={name}: {' and '.join(models)} came from the rows of selections/{name}, "
            "which these would replace: give another select.name, or select.replace=true"
        )


def _choose(out_dir: str, config: SelectConfig, seed: int) -> tuple[Scored, Selection]:
    scored = read_scored(out_dir)
    num_scored = len(scored.scores.example_id)
    if scored.num_pending:
        logger.warning("partial: %d of %d candidates are scored", num_scored, scored.num_candidates)
    _check_explored(out_dir, scored, config)
    selection = select(scored.scores, config, seed)
    _check_settled(out_dir, scored.scores, selection, config)
    if selection.num_copies:
        logger.info(
            "select.unique=true: %d of the %d scored rows are exact copies and left out",
            *(selection.num_copies, num_scored),
        )
    return scored, selection


def _check_explored(out_dir: str, scored: Scored, config: SelectConfig) -> None:
    """Raise UserError for golden scores of a folder that has those of its pilot only."""
    is_whole = not (np.isnan(scored.scores.golden_score).any() or scored.num_pending)
    if config.by != "golden_score" or is_whole or not is_explored(read_manifest(out_dir) or {}):
        return
    raise UserError(
        f"select.by=golden_score: schedule=explore gave the rows of {out_dir} no golden scores: "
        f"take select.by=posterior_score, or run {job_command('score')} with this out_dir and "
        "schedule=race or schedule=full, which goes on from what is there"
    )


def _check_settled(
    out_dir: str, scores: Scores, selection: Selection, config: SelectConfig
) -> None:
    """Raise UserError where a race left rows behind that might belong to this selection."""
    manifest = read_manifest(out_dir) or {}
    top_k, settled = settled_k(manifest), settled_score(manifest)
    if config.by != "golden_score" or top_k is None or not np.isnan(scores.golden_score).any():
        return
    if config.order == "bottom":
        raise UserError(
            "select.order=bottom: the race left the worst rows behind, without a golden score: "
            "take select.by=posterior_score select.order=bottom, or score on with schedule=full"
        )
    num_rows = len(np.unique(scores.content_id[selection.row_K]))
    if config.rule == "threshold":
        _check_settled_score(out_dir, num_rows, top_k, settled, config)
    elif num_rows > top_k:
        raise UserError(
            f"this keeps {num_rows} rows, and the race in {out_dir} settled the best {top_k}: run "
            f"{job_command('score')} with this out_dir, schedule=race and race.top_k={num_rows}, "
            "which goes on from where it ended, or take fewer"
        )


def _check_settled_score(
    out_dir: str, num_rows: int, top_k: int, settled: float | None, config: SelectConfig
) -> None:
    """The same of a threshold: where all of the best K are above it, more may be."""
    assert config.min_score is not None
    if settled is None and num_rows < top_k or settled is not None and config.min_score >= settled:
        return
    of_what = f"the best {top_k}" if settled is None else f"the rows above {settled:g}"
    raise UserError(
        f"select.min_score={config.min_score:g}: the race in {out_dir} settled {of_what}, and left "
        f"rows behind that may be above it too: run {job_command('score')} with this out_dir, "
        f"schedule=race and race.min_score={config.min_score:g}, which goes on from where it ended"
    )


def _summary(scored: Scored, selection: Selection) -> dict[str, Any]:
    golden_K = scored.scores.golden_score[selection.row_K]
    complete_K = golden_K[~np.isnan(golden_K)]
    return {
        "num_rows": len(selection.row_K),
        "partial": scored.num_pending > 0,
        "num_scored": len(scored.scores.example_id),
        "num_candidates": scored.num_candidates,
        "num_copies_left_out": selection.num_copies,
        "cutoff": selection.cutoff,
        "mean_golden_score": float(complete_K.mean()) if len(complete_K) else None,
        "mean_answer_tokens": float(scored.scores.num_answer_tokens[selection.row_K].mean()),
    }


def format_summary(result: dict[str, Any]) -> str:
    """The figures of a selection as text, a line each."""
    lines = [f"selection {result['name']}" + (" (partial)" if result["partial"] else "")]
    for key in FIGURES:
        value = result[key]
        shown = "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
        lines.append(f"  {key:<20}{shown:>12}")
    if (race := result.get("race")) is not None:
        lines += ["", f"The race settled the best {race['settled']}:"]
        lines += [f"  {text}" for text in race["text"]]
    return "\n".join(lines)


def _promise(
    out_dir: str, config: SelectConfig, scores: Scores, selection: Selection
) -> dict[str, Any] | None:
    """What a race promised of the best by golden score, as deep as the selection reaches."""
    if (config.by, config.order) != ("golden_score", "top"):
        return None
    is_kept_R = np.isin(selection.ranked_R, selection.row_K)
    depth = int(np.flatnonzero(is_kept_R).max(initial=-1)) + 1
    num_rows = len(np.unique(scores.content_id[selection.ranked_R[:depth]]))
    return selection_promise((read_manifest(out_dir) or {}).get("race", {}), num_rows)


def _our_columns(scores: Scores, selection: Selection, prefix: str) -> pa.Table:
    row_K = selection.row_K
    columns = [
        pa.array(scores.example_id[row_K], pa.string()),
        pa.array(scores.golden_score[row_K], pa.float64(), from_pandas=True),  # NaN becomes null
        pa.array(np.arange(1, len(row_K) + 1)),
    ]
    return pa.table(columns, names=[prefix + name for name in OUR_COLUMNS])


def _write_parquet(uri: str, table: pa.Table, ours: pa.Table) -> None:
    for name in ours.column_names:
        table = table.append_column(name, ours[name])
    io.write_table(uri, table)
