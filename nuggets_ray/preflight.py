"""What is missing or cannot be, told before torch and Ray are imported: one check a job.

By names, values and the first rows of the data: nothing else is read, and no hub is asked. The
stages check the rest, and these too, as they are called by others than the command line.
"""

from collections.abc import Callable

from nuggets_ray.anchors.file import anchor_files
from nuggets_ray.anchors.random import DEFAULT_NUM, check_num
from nuggets_ray.config.anchor_sets import anchor_sets, told_of_set
from nuggets_ray.config.schema import Config, DataConfig
from nuggets_ray.data.first_look import first_look
from nuggets_ray.data.hub import is_hub
from nuggets_ray.data.inputs import list_inputs
from nuggets_ray.data.recognise import set_format
from nuggets_ray.evaluate.checks import check_settings
from nuggets_ray.evaluate.likelihood.rows import check_held_out
from nuggets_ray.evaluate.models import BASE, check_models
from nuggets_ray.evaluate.results import open_results, read_results
from nuggets_ray.finetune.deepspeed_config import deepspeed_settings
from nuggets_ray.finetune.selections import before_golden
from nuggets_ray.finetune.source import check_source, check_trainable
from nuggets_ray.io import open_fs
from nuggets_ray.model.load import check_path
from nuggets_ray.run.manifest import check_out_dir
from nuggets_ray.run.select_materials import check_materials
from nuggets_ray.run.track import check_tracker
from nuggets_ray.schedule.wanted import check_selects
from nuggets_ray.select import check_config
from nuggets_ray.studies.facts import run_facts


def check_score(config: Config) -> None:
    """Raise UserError for data, anchors, a model or an out_dir that cannot be."""
    _check_format(config.data)
    num_drawn = []
    for name, one in anchor_sets(config.anchors).items():
        with told_of_set(config.anchors, name):
            if one.method == "file":
                anchor_files(one)
            else:
                num_drawn.append(one.num or DEFAULT_NUM)
    _check_rows(config.data, sum(num_drawn) if num_drawn else None)
    check_path(config.model)
    check_out_dir(config.out_dir)


def check_plan(config: Config) -> None:
    """As `check_score`; under plan.only=data for the data, and a model where one is given."""
    if config.plan.only != "data":
        check_score(config)
        return
    _check_format(config.data)
    if config.model.path:
        check_path(config.model)


def check_finetune(config: Config) -> None:
    """Raise UserError for settings of DeepSpeed, a model, a selection or data that cannot be."""
    deepspeed_settings(config.finetune, "bfloat16", 1)
    check_tracker(config.track)
    check_source(config)
    if config.finetune.selection is None:
        _check_format(config.data)
        _check_rows(config.data)
    check_out_dir(config.out_dir)


def check_evaluate(config: Config) -> None:
    """Raise UserError for settings, models, held-out rows or other runs that cannot be."""
    check_settings(config.evaluate, config.judge)
    check_tracker(config.track)
    check_models(config.out_dir, config.evaluate.models or [BASE], config.model)
    for run_folder in config.evaluate.compare:
        read_results(run_folder)
    open_results(config.out_dir, config.evaluate.primary)
    if config.evaluate.method == "likelihood":
        check_held_out(config.out_dir, config.evaluate.held_out_path)
    check_out_dir(config.out_dir)


def check_pipeline(config: Config) -> None:
    """Raise UserError for what any of the stages would refuse."""
    check_config(config.select)
    check_selects(config.schedule, config.select)
    is_matched_made = before_golden(config.select) is not None
    check_materials(config.out_dir, config.select, is_matched_made)
    check_tracker(config.track)
    check_score(config)
    if config.finetune.selections:
        check_trainable(config.model)
    deepspeed_settings(config.finetune, "bfloat16", 1)
    check_settings(config.evaluate, config.judge)
    if config.finetune.selections and config.evaluate.held_out_path is not None:
        check_held_out(config.out_dir, config.evaluate.held_out_path)


def check_study(config: Config) -> None:
    """Raise UserError for what scoring would refuse, where there is something to score; otherwise
    for a run without scores.
    """
    if config.study.name == "correlation":
        deepspeed_settings(config.finetune, "bfloat16", 1)
        check_tracker(config.track)
    if config.data.path:
        check_score(config)
    else:
        run_facts(config.out_dir, config.seed)


def check_status(config: Config) -> None:
    """Raise UserError for an address of a kind that is none of ours."""
    open_fs(config.out_dir)


def check_bench(config: Config) -> None:
    """Raise UserError for a model or data that are named and not there."""
    if config.model.path:
        check_path(config.model)
    if config.bench.name == "finetune" and config.data.path not in ("", "demo"):
        list_inputs(config.data.path)


def _check_format(data: DataConfig) -> None:
    """What can be told of data.format, data.columns and data.roles without a row."""
    set_format(data.format, data.columns, data.roles)


def _check_rows(data: DataConfig, num_anchors: int | None = None) -> None:
    """A first look at the rows, of which `num_anchors` are to be drawn."""
    if data.path == "demo" or is_hub(data.path):
        return
    look = first_look(data, list_inputs(data.path, splits=data.splits), num_anchors or 0)
    if num_anchors is not None and look.is_whole:
        check_num(num_anchors, look.num_distinct)


CHECKS: dict[str, Callable[[Config], None]] = {
    "plan": check_plan,
    "score": check_score,
    "finetune": check_finetune,
    "evaluate": check_evaluate,
    "pipeline": check_pipeline,
    "study": check_study,
    "status": check_status,
    "bench": check_bench,
}


def check(job: str, config: Config) -> None:
    """Raise UserError for what is missing or cannot be; a job without a check of its own passes."""
    if job in CHECKS:
        CHECKS[job](config)
