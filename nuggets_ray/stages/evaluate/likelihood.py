"""evaluate=likelihood: log-probs of the held-out answers under each model, on the engine."""

import logging
from dataclasses import replace

import numpy as np

from nuggets_ray import io
from nuggets_ray.data.inputs import inputs_sha256
from nuggets_ray.evaluate.generate.answer import Asked
from nuggets_ray.evaluate.likelihood.compared import (
    ComparedRows,
    choose_rows,
    read_kept,
    write_kept,
)
from nuggets_ray.evaluate.likelihood.metrics import Comparisons, likelihood_results
from nuggets_ray.evaluate.likelihood.paired import BENCHMARK, WIN_RATE, pair_rows, row_values
from nuggets_ray.evaluate.likelihood.rows import HeldRow, check_held_out
from nuggets_ray.evaluate.models import BASE, EvalModel
from nuggets_ray.evaluate.prompt_set import check_same_set, set_name
from nuggets_ray.evaluate.report import Outcome
from nuggets_ray.evaluate.side_by_side import (
    SideBySide,
    format_answers,
    side_by_side,
    spread,
    until_first_answer,
)
from nuggets_ray.evaluate.verdict.arms import golden_names
from nuggets_ray.model.identity import weights_fingerprint
from nuggets_ray.prompts.spelled import spell_out
from nuggets_ray.records import Encoding
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.stages.evaluate.answers import open_answers
from nuggets_ray.stages.evaluate.context import Context
from nuggets_ray.stages.evaluate.progress import EvaluationProgress
from nuggets_ray.stages.score.worker import Setup, load_engine, model_result, model_task

logger = logging.getLogger(__name__)


def run_likelihood(context: Context) -> Outcome:
    """Log-probs of the held-out answers, the models compared by them, and on request what each
    model answers itself.
    """
    config = context.config
    given = config.evaluate.held_out_path
    check_held_out(config.out_dir, given)
    own = RunFolder(config.out_dir).held_out
    held_out = {"held_out": inputs_sha256(given or own, "evaluate.held_out_path")}
    check_same_set(context.results, BENCHMARK, config.evaluate, config.seed, held_out)
    compared = choose_rows(config, list(context.models))
    data = {**held_out, "rows": compared.sha256}
    check_same_set(context.results, BENCHMARK, config.evaluate, config.seed, data)
    log_probs = {
        model.name: compared.row_log_probs(_mean_log_probs(context, model, compared))
        for model in context.models
    }
    paired = pair_rows(log_probs)
    comparisons = Comparisons(
        golden=golden_names(context.selections, list(log_probs)),
        training_lengths={
            name: selection.num_answer_tokens_K
            for name, selection in context.selections.items()
            if len(selection.num_answer_tokens_K)
        },
        data=data,
        seed=config.seed,
    )
    results = likelihood_results(paired, comparisons)
    name = set_name(config.evaluate)
    wrote = [context.folder.held_out(name)]
    text = f"{len(paired.example_ids)} held-out rows; left out: {compared.left_out or 'none'}"
    if config.evaluate.show_answers:
        shown = _answers(context, spread(compared.rows, config.evaluate.show_answers))
        page = format_answers(shown)
        wrote += [context.folder.answers_page(name), context.folder.answers_data(name)]
        io.write_bytes(context.folder.answers_page(name), page.encode())
        io.write_json(context.folder.answers_data(name), shown)
        text = f"{text}\n\n{page}"
    benchmark, _, metric = config.evaluate.primary.partition("/")
    if benchmark != BENCHMARK or (metric == WIN_RATE and BASE not in log_probs):
        return Outcome(results, wrote, text)
    values, weight_N = row_values(paired, metric)
    return Outcome(results, wrote, text, {metric: values}, {metric: weight_N})


def _answers(context: Context, rows: list[HeldRow]) -> list[SideBySide]:
    """What every model answers to the rows' prompts, side by side, beside the rows' own answers."""
    conversations = [spell_out(row.example) for row in rows]
    temperature = context.config.generate.temperature or 0.0
    asked = [Asked(tuple(until_first_answer(c)), temperature) for c in conversations]
    answers = {}
    for model in context.models:
        with open_answers(
            context.config, model, context.dtype, context.workers, context.run
        ) as answer_all:
            answers[model.name] = answer_all(asked)
    return side_by_side(conversations, answers)


def _mean_log_probs(context: Context, model: EvalModel, compared: ComparedRows) -> dict[str, float]:
    """{example_id: mean log-prob of the answer, nats per token}, computed where it is not kept."""
    config, workers, encodings = context.config, context.workers, compared.encodings
    key = {
        "weights": weights_fingerprint(model.model),
        "prompt": compared.prompt.fingerprint,
        "rendered": "alone",
        "dtype": context.dtype,
        "backend": config.score.backend,
    }
    uri = context.folder.likelihood(model.name)
    known = read_kept(uri, key)
    todo = [row.example_id for row in compared.rows if row.example_id not in known]
    if not todo:
        return known
    todo.sort(key=lambda example_id: encodings[example_id].num_tokens)
    shards = [todo[start :: workers.num_workers] for start in range(workers.num_workers)]
    setup = Setup(
        replace(config, model=model.model), "evaluate", workers.device, context.dtype, "", 1,
        workers.gpus_per_worker,
    )  # fmt: skip
    task = model_task(mean_log_probs, setup, workers)
    pending = [
        (shard, task.remote(setup, [encodings[i] for i in shard])) for shard in filter(None, shards)
    ]
    phase = f"log-probs of the held-out answers under {model.name}"
    num_reused = len(compared.rows) - len(todo)
    progress = EvaluationProgress(context.run, phase, "answers", len(compared.rows), num_reused)
    for shard, ref in pending:
        log_probs_N = model_result(ref, setup.config)
        known |= dict(zip(shard, log_probs_N.tolist(), strict=True))
        progress.count(len(shard))
    progress.close()
    write_kept(uri, key, known)
    return known


def mean_log_probs(setup: Setup, encodings: list[Encoding]) -> np.ndarray:
    """Mean log-probs of the answers of whole rows: (N,), nats per token."""
    nothing = np.zeros(0, np.int64)
    log_probs_N: np.ndarray = load_engine(setup, encodings).log_probs([nothing])[0]
    return log_probs_N
