"""Every stage in turn: score, which skips what is done, then the selections that are compared with
the golden one, then the models trained on those that finetune.selections names, then their
evaluation, and a report of it all.
"""

import logging
from dataclasses import replace
from typing import Any

from nuggets_ray import io
from nuggets_ray.config.keys import job_command
from nuggets_ray.config.schema import Config, SelectConfig
from nuggets_ray.disk_full import is_disk_full
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.checks import check_method, has_rows
from nuggets_ray.evaluate.models import check_models
from nuggets_ray.evaluate.verdict.power import power_text
from nuggets_ray.finetune.selections import before_golden, beside_golden, check_names, num_draws
from nuggets_ray.finetune.source import check_held_out
from nuggets_ray.report.report import write_report
from nuggets_ray.run.explored import is_explored
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import read_manifest
from nuggets_ray.run.rounds import settled_k
from nuggets_ray.run.select import select_beside, select_candidates
from nuggets_ray.run.select_materials import check_materials
from nuggets_ray.schedule.wanted import check_selects
from nuggets_ray.score.checks import check_inputs
from nuggets_ray.select import check_config, default_name
from nuggets_ray.stages.cluster.workers import connected
from nuggets_ray.stages.demo import report_separation
from nuggets_ray.stages.evaluate.job import evaluate
from nuggets_ray.stages.finetune.job import check_finetune, finetune_selections
from nuggets_ray.stages.score.job import score
from nuggets_ray.stages.select import embedder

logger = logging.getLogger(__name__)


def pipeline(config: Config) -> dict[str, Any]:
    """Score the data of `config`, select by `config.select`, and as many of the bottom, longest and
    random rows; the demo prints its report too. Then fine-tune on finetune.selections, if any, and
    evaluate what was trained, where there are rows or prompts to evaluate on. Last, the report.

    Returns the summary of scoring, with everything written.
    """
    check_config(config.select)
    check_selects(config.schedule, config.select)
    first = before_golden(config.select)
    check_materials(config.out_dir, config.select, is_matched_made=first is not None)
    check_inputs(config)
    check_finetune(config.finetune)
    check_names(config.select, config.finetune.selections)
    check_method(config.evaluate, config.judge, config.generate)
    # the models of the selections will be there by then
    there = [name for name in config.evaluate.models if name not in config.finetune.selections]
    check_models(config.out_dir, there, config.model)
    if config.finetune.selections:
        check_held_out(config.out_dir, config.finetune, config.data.holdout)
        _say_what_a_verdict_can_tell(config)
    with connected(config.cluster):
        result = score(config)
        if first is not None and (known := _known(config.out_dir, first)) is not None:
            result["wrote"] += select_beside(replace(config, select=known))
        selected = select_candidates(config, embedder(config))
        result["wrote"] += selected["wrote"]
        counts = (selected["num_rows"], selected["mean_answer_tokens"])
        for other in beside_golden(config.select, config.finetune.selections, *counts):
            if (known := _known(config.out_dir, other)) is not None:
                result["wrote"] += select_beside(replace(config, select=known))
        if config.data.path == "demo":
            result["wrote"] += report_separation(config)["wrote"]
        result["wrote"] += finetune_selections(config)
        is_trained = bool(config.finetune.selections)
        if is_trained and has_rows(config.out_dir, config.evaluate, config.data.holdout):
            result["wrote"] += evaluate(config)["wrote"]
    result["wrote"] += _report(config)
    return result


def _report(config: Config) -> list[str]:
    """The report of the run. All of it is computed by then, so a fault here ends no run."""
    try:
        return list(write_report(config.out_dir, config.report)["wrote"])
    except UserError:
        raise
    except Exception as error:
        if is_disk_full(error):
            raise
        logger.exception(
            "the report was not written, all else is: %s out_dir=%s makes it again",
            *(job_command("report"), config.out_dir),
        )
        return []


def _known(out_dir: str, select: SelectConfig) -> SelectConfig | None:
    """The same; of the worst rows, which a race or an exploration left without a golden score,
    those that are worst by what is known of them, None where nothing is."""
    is_bottom = select.by == "golden_score" and select.order == "bottom"
    manifest = read_manifest(out_dir) or {}
    was_explored = is_explored(manifest)
    if not is_bottom or (settled_k(manifest) is None and not was_explored):
        return select
    name, why = default_name(select), "the race left the worst rows without a golden score"
    if was_explored:
        why = "schedule=explore gives no golden scores"
    if not io.exists(RunFolder(out_dir).posterior):
        logger.warning("no selection %s: %s, and there are no posterior scores", name, why)
        return None
    logger.warning("%s: %s is of the lowest posterior scores", why, name)
    return replace(select, by="posterior_score", name=name)


def _say_what_a_verdict_can_tell(config: Config) -> None:
    """Before anything is scored or trained: what the comparison will be able to show."""
    logger.info("the verdict: %s", power_text(*num_draws(config.finetune.selections)))
    if config.evaluate.method == "likelihood" and config.evaluate.held_out_path is None:
        logger.info(
            "models are compared on rows held out of data.path itself, which favours what looks "
            "like them, random draws above all: evaluate.held_out_path=FILE with rows of the task "
            "that counts, or a judged benchmark as evaluate.primary, asks the better question"
        )
