"""Fine-tune a base model on a selection, or on any data, into models/<name>/, by Ray Train.

rows -> plan, memory and time -> Ray Train with checkpoints -> export. The same call goes on from
the last checkpoint, and does nothing where the model is there already.
"""

import logging
import time
from dataclasses import asdict, replace
from typing import Any

import ray

from nuggets_ray import io
from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import Config
from nuggets_ray.finetune.answer_end import find_answer_end
from nuggets_ray.finetune.checkpoints import (
    check_num_workers,
    check_settings,
    read_committed,
    remove_leftovers,
)
from nuggets_ray.finetune.deepspeed_config import deepspeed_settings, offload_device
from nuggets_ray.finetune.deepspeed_keys import check_keys
from nuggets_ray.finetune.micro_batch import as_begun, decided
from nuggets_ray.finetune.selections import FULL
from nuggets_ray.finetune.source import Source, find_source
from nuggets_ray.model.identity import weights_fingerprint
from nuggets_ray.model.load import load_tokenizer
from nuggets_ray.model.weights.headers import check_weights
from nuggets_ray.prompts.prompt import make_prompt, warn_of_template
from nuggets_ray.run.job_configs import write_config
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.selections import begin_record
from nuggets_ray.run.track import open_tracker
from nuggets_ray.stages.cluster.workers import (
    Workers,
    check_shared_folder,
    named_actor,
    refuse_missing,
    result_of,
    told_connected,
)
from nuggets_ray.stages.finetune.export import Finished, export, read_done
from nuggets_ray.stages.finetune.loop import LoopSetup
from nuggets_ray.stages.finetune.plan import make_plan, probe_worker
from nuggets_ray.stages.finetune.progress import Board
from nuggets_ray.stages.finetune.rows import read_train_rows
from nuggets_ray.stages.finetune.trainer import train

logger = logging.getLogger(__name__)

NOT_TRAINING = (
    "selection",
    "allow_partial",
    "selections",
    "name",
    "micro_batch_tokens",
    "gradient_checkpointing",
    "eval_steps",
    "checkpoint_steps",
    "checkpoint_minutes",
    "export",
    "lora_merge",
    "max_failures",
)
"""Keys of finetune.* that may change between two runs of the same training."""


def finetune(config: Config) -> dict[str, Any]:
    """Train and export.

    Returns {wrote, status, name, num_rows, num_steps, first_loss, loss, eval_loss}.

    Raises UserError for what the user can mend, before a model is loaded wherever that can be told,
    and where the loss is no number any more.
    """
    check_finetune(config.finetune)
    source = find_source(config)
    warn_of_template(make_prompt(load_tokenizer(source.model), source.prompt))
    check_weights(source.model)
    with (
        Run(config.out_dir, f"finetune-{source.name}") as run,
        told_connected(run, config.cluster) as workers,
    ):
        return _finetune(config, source, run, workers)


def finetune_selections(config: Config) -> list[str]:
    """Fine-tune on each of finetune.selections in turn, print how, and return what was written."""
    wrote: list[str] = []
    for selection in config.finetune.selections:
        one = replace(config.finetune, selection=selection, name=None)
        if selection == FULL:
            one = replace(one, selection=None, name=FULL)
        result = finetune(replace(config, finetune=one))
        held_out = "" if result["eval_loss"] is None else f", held out {result['eval_loss']:.4f}"
        print(
            f"model {result['name']}: {result['num_steps']} steps on {result['num_rows']} rows, "
            f"loss of the first {result['first_loss']:.4f}, of the last, on other rows, "
            f"{result['loss']:.4f}{held_out}",
            flush=True,
        )
        wrote += result["wrote"]
    return wrote


def check_finetune(config: FinetuneConfig) -> None:
    """Raise UserError for settings of DeepSpeed that cannot be; needs no Ray and no data."""
    check_keys(config.deepspeed)
    deepspeed_settings(config, "bfloat16", 1)


def _finetune(config: Config, source: Source, run: Run, workers: Workers) -> dict[str, Any]:
    refuse_missing(workers)
    has_kernels = workers.device == "cpu" or offload_device(config.finetune, "optimizer") == "cpu"
    look = probe_worker.options(**workers.ray_options)
    facts = result_of(look.remote(config.finetune.dtype, workers.device, has_kernels))
    folder = RunFolder(config.out_dir).training(source.name).path
    settings = _settings(config, source, workers, facts.dtype)
    if done := read_done(config.out_dir, config.finetune, source, settings):
        logger.info("models/%s is there already: nothing is left to do", source.name)
        return done
    committed = read_committed(folder)
    if committed:
        check_settings(committed, settings, source.name, source.description)
        check_num_workers(committed, config.finetune, workers.num_workers, source.name)
    check_shared_folder(config.out_dir)
    remove_leftovers(folder)
    write_config(config.out_dir, f"finetune-{source.name}", config)
    selection = begin_record(config.out_dir, folder, source.selection, committed is not None)
    run.tell("reading the rows, and what training on them takes")
    rows = read_train_rows(config, source)
    begun = as_begun(config.finetune, committed.settings if committed else {})
    setup, choice = make_plan(begun, config.seed, source.model, rows, facts, workers)
    run.update(num_workers=workers.num_workers)
    started = time.monotonic()
    loop = LoopSetup(
        train=setup,
        settings=settings | decided(setup.finetune),
        folder=folder,
        attempt_id=run.attempt_id,
        row_refs=(ray.put(rows.train), ray.put(rows.held_out)),
        board=named_actor(Board, "nuggets_progress_of_training", run).remote(),
        num_threads=workers.cpus_per_worker,
    )
    with open_tracker(config.track, config.out_dir, run.stage, settings) as tracker:
        history = train(loop, run, workers, config.progress_s, tracker)
    run.update(actual_s=round(time.monotonic() - started, 1))
    run.tell("writing the model")
    finished = Finished(setup, choice.work, rows, history, settings, selection)
    return export(config.out_dir, config.model.path or source.model.path, source, finished)


def _settings(config: Config, source: Source, workers: Workers, dtype: str) -> dict[str, Any]:
    """What decides the weights that come out, as {key: value}: two runs with the same agree."""
    given = {
        f"finetune.{key}": value
        for key, value in asdict(config.finetune).items()
        if key not in NOT_TRAINING
    }
    files = [io.sha256(file.path) for file in source.files]
    held_out = RunFolder(config.out_dir).held_out
    tokenizer = load_tokenizer(source.model)
    prompt = make_prompt(tokenizer, source.prompt)
    end = find_answer_end(prompt, tokenizer, source.model.path)
    token = tokenizer.convert_ids_to_tokens(end.token_id)
    if prompt.name == "chat" and end.is_inserted:
        logger.warning("the chat template ends no answer: %s is put behind each of them", token)
    else:
        logger.info("answers are trained to end with %s", token)
    if prompt.name == "chat" and (end.tail_ids or end.is_inserted):
        given["answer_end"] = asdict(end)  # where it decides more than the prompt's own ids do
    return {
        **given,
        "finetune.dtype": dtype,
        "cluster.num_workers": workers.num_workers,
        "seed": config.seed,
        "model": weights_fingerprint(source.model),
        "prompt": prompt.fingerprint,
        "rows": {"sha256": files, "limit": source.limit, "format": source.rules.format},
        "held_out": io.sha256(held_out) if io.exists(held_out) else config.data.holdout,
    }
