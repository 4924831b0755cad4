"""Every stage in turn: score, which skips what is done, then the selections that are compared with
the golden one, then the models trained on those that finetune.selections names, then their
evaluation.
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from nuggets_ray import io
from nuggets_ray.config.schema import Config, SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.checks import check_method
from nuggets_ray.evaluate.models import find_models
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.select import check_config, default_name
from nuggets_ray.stages.cluster.workers import connected
from nuggets_ray.stages.demo import report_separation
from nuggets_ray.stages.evaluate.job import evaluate
from nuggets_ray.stages.finetune.job import FULL, check_finetune, finetune_selections
from nuggets_ray.stages.score.job import check_inputs, score
from nuggets_ray.stages.select import ReplacesTrainedError, select_candidates

logger = logging.getLogger(__name__)

RANDOM = re.compile(r"random-(0|[1-9]\d*)(-tokens)?")
OTHERS = {
    "bottom": SelectConfig("top_k", by="golden_score", order="bottom"),
    "longest": SelectConfig("top_k", by="longest"),
    "shortest": SelectConfig("top_k", by="longest", order="bottom"),
}
ALWAYS = ("bottom", "longest", "random-0")


def pipeline(config: Config) -> dict[str, Any]:
    """Score the data of `config`, select by `config.select`, and as many of the bottom, longest and
    random rows; the demo prints its report too. Then fine-tune on finetune.selections, if any, and
    evaluate what was trained, where there are rows or prompts to evaluate on.

    Returns the summary of scoring, with everything written.
    """
    check_config(config.select)
    check_inputs(config)
    check_finetune(config.finetune)
    _check_names(config)
    check_method(config.evaluate, config.judge, config.generate)
    _check_models(config)
    with connected(config.cluster):
        result = score(config)
        selected = select_candidates(config)
        result["wrote"] += selected["wrote"]
        for other in _others(config, selected):
            result["wrote"] += _select_beside(replace(config, select=other))
        if config.data.path == "demo":
            result["wrote"] += report_separation(config)["wrote"]
        result["wrote"] += finetune_selections(config)
        if _can_evaluate(config):
            result["wrote"] += evaluate(config)["wrote"]
    return result


def _select_beside(config: Config) -> list[str]:
    """Make a selection that stands beside the golden one, and return what was written.

    It has no select.name of the user's, so one that a model was trained on is kept as it is, where
    none is trained on it now.
    """
    name = default_name(config.select)
    try:
        return list(select_candidates(config)["wrote"])
    except ReplacesTrainedError as error:
        if name in config.finetune.selections:
            raise
        logger.warning("selections/%s is left as it was: %s", name, error)
        return []


def _check_names(config: Config) -> None:
    """Raise UserError for a name in finetune.selections that this job makes no selection for, and
    for a selection with the name of one that it makes beside it.
    """
    golden = config.select.name or default_name(config.select)
    if config.select.name and _is_reserved(golden):
        raise UserError(
            f"select.name={golden}: jobs/pipeline.py makes another selection of that name, to "
            "compare with: give another"
        )
    for name in config.finetune.selections:
        if name != golden and not _is_reserved(name):
            raise UserError(
                f"finetune.selections={name}: jobs/pipeline.py makes {golden}, "
                f"{', '.join(OTHERS)}, random-0, random-1, ..., random-0-tokens, ... (as many "
                f"answer tokens as {golden}) and {FULL} (every row): take those"
            )


def _is_reserved(name: str) -> bool:
    return name in (FULL, *OTHERS) or RANDOM.fullmatch(name) is not None


def _check_models(config: Config) -> None:
    """Raise UserError for a model to evaluate that will not be there when its time comes."""
    later = config.finetune.selections
    for name in config.evaluate.models:
        if name not in later:
            find_models(config.out_dir, [name], config.model, config.prompt)


def _others(config: Config, selected: dict[str, Any]) -> Iterator[SelectConfig]:
    """What stands beside the selection: each with as many rows, or as many answer tokens."""
    num_rows = selected["num_rows"]
    for name in dict.fromkeys([*ALWAYS, *config.finetune.selections]):
        other = OTHERS.get(name)
        if drawn := RANDOM.fullmatch(name):
            other = SelectConfig("top_k", by="random", draw=int(drawn[1]))
            if drawn[2]:
                tokens = round(num_rows * selected["mean_answer_tokens"])
                other = replace(other, rule="top_tokens", tokens=tokens)
        if other is None:
            continue
        if other.rule == "top_k":
            other = replace(other, k=num_rows)
        yield replace(other, prefix=config.select.prefix, replace=config.select.replace)


def _can_evaluate(config: Config) -> bool:
    if not config.finetune.selections:
        return False
    if config.evaluate.method != "likelihood" or config.evaluate.held_out_path is not None:
        return True
    if io.exists(RunFolder(config.out_dir).held_out) and config.data.holdout:
        return True
    logger.info(
        "the models are not compared: there are no held-out rows (data.holdout=N, or "
        "evaluate.held_out_path=FILE)"
    )
    return False
