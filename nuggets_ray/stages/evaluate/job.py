"""Evaluate the models of a run, or any others: evaluation/results.json, and what it rests on.

models -> adapters merged -> one benchmark -> results.json, the verdict -> tables. The same call
goes on from the answers, log-probs and verdicts that are there.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from nuggets_ray import io
from nuggets_ray.config.schema import Config
from nuggets_ray.evaluate.checks import check_evaluate
from nuggets_ray.evaluate.prompt_set import set_name
from nuggets_ray.evaluate.report import Outcome, format_page, format_report, keep_broader
from nuggets_ray.evaluate.results import (
    Result,
    Results,
    open_results,
    read_results,
    write_results,
)
from nuggets_ray.evaluate.verdict.arms import verdict_of_run
from nuggets_ray.model.load import resolve_dtype
from nuggets_ray.run.job_configs import write_config
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run, read_manifest
from nuggets_ray.run.track import open_tracker
from nuggets_ray.run.trained_on import trained_selections
from nuggets_ray.stages.cluster.workers import (
    Workers,
    check_shared_folder,
    on_worker,
    told_connected,
)
from nuggets_ray.stages.evaluate.adapters import as_whole_models
from nuggets_ray.stages.evaluate.benchmarks import run_alpaca_eval, run_mt_bench
from nuggets_ray.stages.evaluate.context import Context
from nuggets_ray.stages.evaluate.harness import run_lm_eval
from nuggets_ray.stages.evaluate.likelihood import run_likelihood

logger = logging.getLogger(__name__)


def evaluate(config: Config) -> dict[str, Any]:
    """Evaluate evaluate.models by evaluate.method and print the tables.

    Returns {wrote, status, models}. Raises UserError for what the user can mend, before a model is
    loaded wherever that can be told.
    """
    models = check_evaluate(config)
    for run_folder in config.evaluate.compare:
        read_results(run_folder)
    results = open_results(config.out_dir, config.evaluate.primary)
    with Run(config.out_dir, "evaluate") as run, told_connected(run, config.cluster) as workers:
        check_shared_folder(config.out_dir)
        write_config(config.out_dir, "evaluate", config)
        dtype = _dtype(config, workers)
        run.update(num_workers=workers.num_workers)
        run.tell("looking at the models")
        whole = as_whole_models(models, config.out_dir, dtype)
        selections = trained_selections(config.out_dir, [model.name for model in models])
        context = Context(config, whole, dtype, workers, run, results, selections)
        outcome = _run(context)
        run.tell("comparing the models")
        new = _stamped(config, outcome.results)
        results = results.pinned(new).merged(new)
        results = replace(results, verdict=_verdict(context, outcome, results, new))
        wrote = [*outcome.wrote, write_results(config.out_dir, results)]
        wrote.append(RunFolder(config.out_dir).evaluation.results_page)
        io.write_bytes(wrote[-1], format_page(results).encode())
    print(format_report(config.evaluate, config.out_dir, outcome, results))
    return {"wrote": wrote, "status": "done", "models": [model.name for model in models]}


def _run(context: Context) -> Outcome:
    """The evaluation, with its numbers in the tracker of track.to, if any."""
    config, evaluate_ = context.config, context.config.evaluate
    settings = {"method": evaluate_.method, "primary": evaluate_.primary}
    with open_tracker(config.track, config.out_dir, "evaluate", settings) as tracker:
        outcome = METHODS[evaluate_.method](context)
        tracker.log(
            {result.label: result.value for result in outcome.results if result.value is not None}
        )
    return outcome


def _stamped(config: Config, results: Sequence[Result]) -> list[Result]:
    """The results with the set of prompts that they are of, and the seed."""
    name, limit = set_name(config.evaluate), config.evaluate.limit
    return [replace(result, name=name, limit=limit, seed=config.seed) for result in results]


def _verdict(
    context: Context, outcome: Outcome, results: Results, new: Sequence[Result]
) -> Mapping[str, Any] | None:
    """The verdict so far, or the one of this evaluation: where it took the primary metric as it is
    pinned, and a model is golden.
    """
    config, selections = context.config, context.selections
    benchmark, _, metric = config.evaluate.primary.partition("/")
    if benchmark != config.evaluate.method or metric not in outcome.values:
        return results.verdict
    if unlike := results.unlike_pins(new):
        logger.warning(
            "no verdict: evaluate.primary=%s is that of its first evaluation in this out_dir, and "
            "this one has another %s",
            *(config.evaluate.primary, " and ".join(unlike)),
        )
        return results.verdict
    values, weight_N = outcome.values[metric], outcome.weights.get(metric)
    evaluate_ = config.evaluate
    is_of_pool = evaluate_.method == "likelihood" and evaluate_.held_out_path is None
    arguments = (evaluate_.primary, selections, values, weight_N, config.seed, is_of_pool)
    return keep_broader(verdict_of_run(config.out_dir, *arguments), results.verdict)


def _dtype(config: Config, workers: Workers) -> str:
    """score.dtype, by default what the run was scored in."""
    manifest = read_manifest(config.out_dir) or {}
    scored = manifest.get("fingerprint", {}).get("dtype")
    if config.score.dtype == "auto" and scored:
        return str(scored)
    return str(on_worker(workers, resolve_dtype, config.score.dtype, "", workers.device))


METHODS: dict[str, Callable[[Context], Outcome]] = {
    "likelihood": run_likelihood,
    "alpaca_eval": run_alpaca_eval,
    "mt_bench": run_mt_bench,
    "lm_eval": run_lm_eval,
}
