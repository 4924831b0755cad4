"""The select job: scores/ and candidates/ of a run in, selections/<name>/ out. Needs no Ray.

selection.json is removed first and written last: where it stands, the selection is whole.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from nuggets_ray import io
from nuggets_ray.config.schema import Config, SelectConfig
from nuggets_ray.curate.choose import Chosen, choose
from nuggets_ray.errors import UserError
from nuggets_ray.io import write_json
from nuggets_ray.run.dataset_card import dataset_card
from nuggets_ray.run.exports import write_exports
from nuggets_ray.run.job_configs import check_same_run, read_config, write_config
from nuggets_ray.run.joined import Scored, read_rows, read_scored
from nuggets_ray.run.layout import RunFolder, SelectionFolder
from nuggets_ray.run.manifest import read_manifest
from nuggets_ray.run.select_materials import Embed, read_materials
from nuggets_ray.run.select_report import selection_report
from nuggets_ray.run.select_signals import with_signals
from nuggets_ray.run.selected_rows import json_columns, to_jsonl, to_table
from nuggets_ray.run.selection_profile import Profile, profile_of
from nuggets_ray.run.selections import Record, models_of
from nuggets_ray.run.set_scores import mixture_facts, with_set_scores
from nuggets_ray.run.settled import check_explored, check_settled, promise_of
from nuggets_ray.run.signal_table import signal_table
from nuggets_ray.run.source_rows import read_source_table
from nuggets_ray.select import (
    OUR_COLUMNS,
    Scores,
    Selection,
    check_clash,
    check_config,
    default_name,
)

logger = logging.getLogger(__name__)

FIGURES = (
    *("num_rows", "num_scored", "num_candidates", "num_copies_left_out", "num_eligible"),
    *("cutoff", "mean_golden_score", "mean_answer_tokens"),
)
"""What the job prints of its result."""


class ReplacesTrainedError(UserError):
    """Other rows would take the place of those that a model was trained on."""


def select_and_report(config: Config, embed: Embed | None = None) -> dict[str, Any]:
    """`select_candidates`, and print what came of it."""
    made = _select(config, embed)
    print(format_summary(made.result))
    report = selection_report(config.out_dir, made.scored, made.chosen, made.profile, config.select)
    print(f"\n{report}")
    row_K = made.chosen.selection.row_K
    table = signal_table(config.out_dir, made.scored, row_K, config.select, config.seed)
    print(f"\n{table}")
    return made.result


def select_candidates(config: Config, embed: Embed | None = None) -> dict[str, Any]:
    """Choose rows by `config.select` and write selections/<name>/; returns the job's JSON object.

    Works on a run that is still going or has died: then it chooses among the rows scored so far and
    says partial. `embed` is what select.diversity takes. Raises UserError where the settings are
    wrong, nothing is scored yet, a source field has one of our names, or other rows would replace
    those that a model was trained on.
    """
    return _select(config, embed).result


@dataclass(frozen=True, slots=True)
class _Made:
    """What the job prints as JSON, and what the report is made of."""

    result: dict[str, Any]
    scored: Scored
    chosen: Chosen
    profile: Profile


def _select(config: Config, embed: Embed | None) -> _Made:
    check_config(config.select)
    check_same_run(config)
    scored, chosen = _choose(config.out_dir, config.select, config.seed, embed)
    selection = chosen.selection
    name, summary = selection.name, _summary(scored, chosen, config.select)
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
    columns = [*table.column_names, *ours.column_names]
    if as_json:
        logger.info(
            "selected.parquet: values of unlike types in %s are kept as JSON (arrow.json), which "
            "`datasets` reads as what they were",
            ", ".join(as_json),
        )
    del table  # with the lines of all rows beside it, a large selection would not fit
    io.write_bytes(folder.jsonl, to_jsonl(rows, ours))
    exported = write_exports(config.out_dir, name, config.select.export, rows)
    del rows
    profile = profile_of(config.out_dir, scored, selection, config.select, config.seed)
    write_json(folder.profile, asdict(profile))
    listed = _write_near_duplicates(folder, scored.scores, chosen, config.select)
    settings = {**asdict(config.select), "name": name, "seed": config.seed}
    for key in ("replace", "export", "show_text"):  # they say nothing of which rows were chosen
        del settings[key]
    summary["race"] = promise_of(config.out_dir, scored.scores, selection, config.select)
    record = {"settings": settings, **summary, "json_columns": as_json}
    io.write_bytes(folder.card, _card(config.out_dir, name, record, columns).encode())
    write_json(folder.record, record)
    write_config(config.out_dir, "select_topk", config)
    wrote = [folder.jsonl, folder.parquet, folder.record, folder.profile, *listed, *exported]
    wrote.append(folder.card)
    result = {"wrote": wrote, "status": "done", "name": name, **summary}
    return _Made(result, scored, chosen, profile)


def _card(out_dir: str, name: str, record: Record, columns: Sequence[str]) -> str:
    fingerprint = (read_manifest(out_dir) or {}).get("fingerprint", {})
    return dataset_card(out_dir, name, record, columns, read_config(out_dir, "score"), fingerprint)


def _write_near_duplicates(
    folder: SelectionFolder, scores: Scores, chosen: Chosen, config: SelectConfig
) -> list[str]:
    """List the rows that were left out for a better one; what was written."""
    if config.max_similarity is None:
        io.delete(folder.near_duplicates)
        return []
    lines = [
        {
            "example_id": str(scores.example_id[one.row]),
            "twin_id": str(scores.example_id[one.twin]),
            "similarity": round(one.similarity, 4),
        }
        for one in chosen.near_duplicates
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    io.write_bytes(folder.near_duplicates, text.encode())
    return [folder.near_duplicates]


def select_beside(config: Config, embed: Embed | None = None) -> list[str]:
    """Make a selection that stands beside the golden one, and return what was written.

    Its name is none of the user's, so one that a model was trained on is kept as it is, where
    none is trained on it now.
    """
    name = config.select.name or default_name(config.select)
    try:
        return list(select_candidates(config, embed)["wrote"])
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


def _choose(
    out_dir: str, config: SelectConfig, seed: int, embed: Embed | None
) -> tuple[Scored, Chosen]:
    scored = with_set_scores(out_dir, read_scored(out_dir), config)
    scored = with_signals(out_dir, scored, config)
    num_scored = len(scored.scores.example_id)
    if scored.num_pending:
        logger.warning("partial: %d of %d candidates are scored", num_scored, scored.num_candidates)
    check_explored(out_dir, scored, config)
    materials = read_materials(out_dir, config, scored, embed)
    chosen = choose(scored.scores, config, seed, materials)
    check_settled(out_dir, scored.scores, chosen.selection, config)
    _tell(chosen, config, num_scored)
    return scored, chosen


def _tell(chosen: Chosen, config: SelectConfig, num_scored: int) -> None:
    """Log what was left out, and what could not be had as asked for."""
    ranking, num_kept = chosen.selection.ranking, len(chosen.selection.row_K)
    if ranking.num_copies:
        logger.info(
            "select.unique=true: %d of the %d scored rows are exact copies and left out",
            *(ranking.num_copies, num_scored),
        )
    short = [one for one in chosen.quotas if one.num_kept < one.num_wanted]
    if short:
        logger.warning(
            "select.per=%s: %s; %s",
            config.per,
            ", ".join(f"{one.value} has {one.num_kept} of {one.num_wanted} rows" for one in short),
            "given quotas are left as they are"
            if config.quotas
            else "the others were given what they lack",
        )
    if chosen.num_wanted is not None and num_kept < chosen.num_wanted:
        logger.warning(
            "%d rows are kept, of the %d asked for: there are no more", num_kept, chosen.num_wanted
        )
    if chosen.matched is not None and chosen.matched.num_moved:
        logger.warning(
            "select.match_length=%s: %d of %d rows are of another length than was asked for, the "
            "nearest that there was",
            *(config.match_length, chosen.matched.num_moved, num_kept),
        )


def _summary(scored: Scored, chosen: Chosen, config: SelectConfig) -> dict[str, Any]:
    selection = chosen.selection
    golden_K = scored.scores.golden_score[selection.row_K]
    complete_K = golden_K[~np.isnan(golden_K)]
    ranking = selection.ranking
    return {
        "num_rows": len(selection.row_K),
        "partial": scored.num_pending > 0,
        "num_scored": len(scored.scores.example_id),
        "num_candidates": scored.num_candidates,
        "num_copies_left_out": ranking.num_copies,
        "num_eligible": ranking.num_eligible,
        "num_near_duplicates": len(chosen.near_duplicates),
        "num_pool": chosen.num_pool,
        "quotas": [asdict(quota) for quota in chosen.quotas],
        "matched": None if chosen.matched is None else asdict(chosen.matched),
        "sets": mixture_facts(scored.scores, config, ranking.is_eligible_N, selection.row_K),
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
    lines += [
        f"  {one['num_rows']} rows of the set {one['name']} ({one['share']:.0%} asked for); mean "
        f"golden score of all rows kept on it {one['mean_golden_score']:.4g}"
        for one in result["sets"]
    ]
    if (race := result.get("race")) is not None:
        lines += ["", f"The race settled the best {race['settled']}:"]
        lines += [f"  {text}" for text in race["text"]]
    return "\n".join(lines)


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
