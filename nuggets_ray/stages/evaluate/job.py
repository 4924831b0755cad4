"""Evaluate the models of a run, or any others: evaluation/results.json, and what it rests on.

models -> adapters merged -> one benchmark -> results.json, the verdict -> tables. The same call
goes on from the answers, log-probs and verdicts that are there.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nuggets_ray import io
from nuggets_ray.config.schema import Config
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.checks import check_method
from nuggets_ray.evaluate.likelihood.metrics import Comparisons, likelihood_results
from nuggets_ray.evaluate.likelihood.paired import BENCHMARK, WIN_RATE, pair_rows, row_values
from nuggets_ray.evaluate.models import BASE, EvalModel, find_models
from nuggets_ray.evaluate.report import Outcome, format_page, format_report, keep_broader
from nuggets_ray.evaluate.results import open_results, read_results, write_results
from nuggets_ray.evaluate.verdict.arms import golden_names, make_arms, score_signs
from nuggets_ray.evaluate.verdict.evidence import GOLDEN, gather
from nuggets_ray.evaluate.verdict.verdict import decide
from nuggets_ray.model.load import load_tokenizer, resolve_dtype
from nuggets_ray.model.weights.headers import check_weights
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.run.job_configs import write_config
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run, read_manifest
from nuggets_ray.run.trained_on import trained_selections
from nuggets_ray.stages.cluster.workers import Workers, check_shared_folder, connected, on_worker
from nuggets_ray.stages.evaluate.adapters import as_whole_models
from nuggets_ray.stages.evaluate.answers import open_answers
from nuggets_ray.stages.evaluate.benchmarks import (
    Context,
    run_alpaca_eval,
    run_lm_eval,
    run_mt_bench,
)
from nuggets_ray.stages.evaluate.likelihood import Likelihoods, likelihoods

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
    with Run(config.out_dir, "evaluate") as run, connected(config.cluster) as workers:
        check_shared_folder(config.out_dir)
        write_config(config.out_dir, "evaluate", config)
        dtype = _dtype(config, workers)
        run.update(num_workers=workers.num_workers)
        whole = as_whole_models(models, config.out_dir, dtype)
        selections = trained_selections(config.out_dir, [model.name for model in models])
        context = Context(config, whole, dtype, workers, run, selections)
        outcome = METHODS[config.evaluate.method](context)
        verdict = keep_broader(_verdict(context, outcome), results.verdict)
        results = replace(results.merged(outcome.results), verdict=verdict)
        wrote = [*outcome.wrote, write_results(config.out_dir, results)]
        wrote.append(RunFolder(config.out_dir).evaluation.results_page)
        io.write_bytes(wrote[-1], format_page(results).encode())
    print(format_report(config.evaluate, config.out_dir, outcome, results))
    return {"wrote": wrote, "status": "done", "models": [model.name for model in models]}


def _verdict(context: Context, outcome: Outcome) -> dict[str, Any] | None:
    """The verdict, where this evaluation took the primary metric and a golden model is there."""
    config, selections = context.config, context.selections
    benchmark, _, metric = config.evaluate.primary.partition("/")
    if benchmark != config.evaluate.method or metric not in outcome.values:
        return None
    arms = make_arms(selections, outcome.values[metric])
    if not arms:
        return None
    golden = next(arm.name for arm in arms if arm.kind == GOLDEN)
    stability, length = score_signs(config.out_dir, selections[golden], config.seed)
    weight_N = outcome.weights.get(metric)
    evidence = gather(arms, config.evaluate.primary, weight_N, stability, length, config.seed)
    return decide(evidence).as_dict()


def check_evaluate(config: Config) -> list[EvalModel]:
    """The models, all looked at as far as can be without loading one. Raises UserError."""
    check_method(config.evaluate, config.judge, config.generate)
    models = find_models(config.out_dir, config.evaluate.models, config.model, config.prompt)
    for model in models:
        make_prompt(load_tokenizer(model.model), model.prompt)
        try:
            check_weights(model.model, any_architecture=_is_vllm(config))
        except UserError as error:
            raise UserError(f"evaluate.models={model.name}: {error}") from error
    return models


def _is_vllm(config: Config) -> bool:
    """Whether vLLM loads the models: for log-probs or for answers."""
    if config.evaluate.method == "likelihood":
        return config.score.backend == "vllm"
    return config.evaluate.method != "lm_eval" and config.generate.backend == "vllm"


def _dtype(config: Config, workers: Workers) -> str:
    """score.dtype, by default what the run was scored in."""
    manifest = read_manifest(config.out_dir) or {}
    scored = manifest.get("fingerprint", {}).get("dtype")
    if config.score.dtype == "auto" and scored:
        return str(scored)
    return str(on_worker(workers, resolve_dtype, config.score.dtype, "", workers.device))


def _likelihood(context: Context) -> Outcome:
    config = context.config
    found = likelihoods(config, list(context.models), context.dtype, context.workers)
    paired = pair_rows(found.log_probs)
    comparisons = Comparisons(
        golden=golden_names(context.selections, list(found.log_probs)),
        training_lengths={
            name: selection.num_answer_tokens_K
            for name, selection in context.selections.items()
            if len(selection.num_answer_tokens_K)
        },
        data=found.data,
        seed=config.seed,
    )
    results = likelihood_results(paired, comparisons)
    wrote = [context.folder.held_out]
    text = f"{len(paired.example_ids)} held-out rows; left out: {found.left_out or 'none'}"
    if config.evaluate.show_answers:
        shown = _show_answers(context, found)
        uri = context.folder.answers_page
        io.write_bytes(uri, shown.encode())
        wrote.append(uri)
        text = f"{text}\n\n{shown}"
    benchmark, _, metric = config.evaluate.primary.partition("/")
    if benchmark != BENCHMARK or (metric == WIN_RATE and BASE not in found.log_probs):
        return Outcome(results, wrote, text)
    values, weight_N = row_values(paired, metric)
    return Outcome(results, wrote, text, {metric: values}, {metric: weight_N})


def _show_answers(context: Context, found: Likelihoods) -> str:
    """What every model answers to a few held-out prompts, side by side, beside the row's own."""
    rows = found.rows
    num = min(context.config.evaluate.show_answers, len(rows))
    # spread over the rows, so that they are of several kinds
    chosen = [rows[i * len(rows) // num] for i in range(num)]
    prompts = [_until_first_answer(row.example.messages) for row in chosen]
    answers = {}
    for model in context.models:
        with open_answers(
            context.config, model, context.dtype, context.workers, context.run
        ) as answer_all:
            answers[model.name] = answer_all(prompts)
    lines = []
    for index, (row, prompt) in enumerate(zip(chosen, prompts, strict=True)):
        asked = "\n".join(message.content for message in prompt)
        reply = row.example.messages[len(prompt)].content
        lines += [f"## {asked}", f"the row's own answer: {reply}"]
        for name, given in answers.items():
            answer = given[index]
            if isinstance(answer, str):
                lines.append(f"{name}: (none: {answer})")
            else:
                lines.append(f"{name}: {answer.text}{' [cut]' if answer.is_cut else ''}")
        lines.append("")
    return "\n\n".join(lines) + "\n"


def _until_first_answer(messages: tuple[Any, ...]) -> tuple[Any, ...]:
    first = next(i for i, message in enumerate(messages) if message.role == "assistant")
    return messages[:first]


METHODS: dict[str, Callable[[Context], Outcome]] = {
    "likelihood": _likelihood,
    "alpaca_eval": run_alpaca_eval,
    "mt_bench": run_mt_bench,
    "lm_eval": run_lm_eval,
}
